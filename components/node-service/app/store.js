'use strict';

const { DatabaseSync } = require('node:sqlite');

const VERSION = 1;

/** Opens the database at `path`, makes its table where there is none, and answers with what can be done to tasks. */
function openStore(path) {
  const database = new DatabaseSync(path);
  // A write-ahead log that waits for the disk at each commit: an answered change outlives a power cut.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  migrate(database);
  return new Store(database);
}

function migrate(database) {
  const { user_version: version } = database.prepare('PRAGMA user_version').get();
  if (version > VERSION) throw new Error(`the database is of version ${version}; this service knows ${VERSION}`);
  if (version === VERSION) return;
  database.exec(`
    BEGIN;
    CREATE TABLE task (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      title TEXT NOT NULL,
      done INTEGER NOT NULL DEFAULT 0 CHECK (done IN (0, 1)),
      created TEXT NOT NULL
    ) STRICT;
    PRAGMA user_version = ${VERSION};
    COMMIT`);
}

class Store {
  #database;
  #statements = new Map();

  constructor(database) {
    this.#database = database;
  }

  list({ done, after, limit }) {
    const wanted = done === undefined ? null : Number(done);
    return this.#prepared(
      'SELECT * FROM task WHERE id > ?1 AND (?2 IS NULL OR done = ?2) ORDER BY id LIMIT ?3',
    ).all(after, wanted, limit).map(task);
  }

  get(id) {
    return task(this.#prepared('SELECT * FROM task WHERE id = ?').get(id));
  }

  add({ title }) {
    return task(
      this.#prepared('INSERT INTO task (title, created) VALUES (?, ?) RETURNING *').get(title, new Date().toISOString()),
    );
  }

  change(id, { title, done }) {
    return task(
      this.#prepared(
        'UPDATE task SET title = coalesce(?2, title), done = coalesce(?3, done) WHERE id = ?1 RETURNING *',
      ).get(id, title ?? null, done === undefined ? null : Number(done)),
    );
  }

  remove(id) {
    return this.#prepared('DELETE FROM task WHERE id = ?').run(id).changes > 0;
  }

  close() {
    this.#database.close();
  }

  #prepared(sql) {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

function task(row) {
  return row && { id: row.id, title: row.title, done: row.done === 1, created: row.created };
}

module.exports = { openStore };
