'use strict';

const BODY_LIMIT = 64 * 1024;

/** What a client is told: an HTTP status, a code for programs, a sentence for people. */
class ServiceError extends Error {
  constructor(status, code, message, headers = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** The request's body as a value. Throws a ServiceError where it is too large or not JSON. */
async function readJson(request) {
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0].trim().toLowerCase();
  if (type !== 'application/json') {
    throw new ServiceError(415, 'unsupported-media-type', "The body must be 'application/json'.");
  }
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_LIMIT) {
      // The rest is not read: the connection ends with the answer.
      throw new ServiceError(413, 'too-large', `The body is larger than ${BODY_LIMIT} bytes.`, { connection: 'close' });
    }
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (error) {
    throw new ServiceError(400, 'not-json', `The body is not JSON: ${error.message}`);
  }
}

function send(response, { status, body, headers = {} }) {
  if (body === undefined) {
    response.writeHead(status, headers).end();
    return;
  }
  const text = `${JSON.stringify(body)}\n`;
  response
    .writeHead(status, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(text),
      ...headers,
    })
    .end(text);
}

function sendError(response, error) {
  const known = error instanceof ServiceError;
  if (!known) console.error(error);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  send(response, {
    status: known ? error.status : 500,
    headers: known ? error.headers : {},
    body: {
      error: { code: known ? error.code : 'internal', message: known ? error.message : 'Something went wrong here.' },
    },
  });
}

module.exports = { readJson, send, sendError, ServiceError };
