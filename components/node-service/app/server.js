'use strict';

// A task list: JSON over HTTP on port 80, kept in SQLite on the volume.

const http = require('node:http');
const { createHandler } = require('./routes');
const { openStore } = require('./store');

const store = openStore(process.env.DATABASE);
const server = http.createServer(createHandler(store));

server.requestTimeout = 30_000;
server.headersTimeout = 10_000;
server.listen(Number(process.env.PORT ?? 80), () => console.log('node-service listens'));

process.once('SIGTERM', () => {
  server.close(() => store.close());
  server.closeIdleConnections();
});
