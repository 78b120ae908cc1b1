'use strict';

const { Trouter } = require('trouter');
const { readJson, send, sendError, ServiceError } = require('./exchange');
const input = require('./input');

const METHODS = ['GET', 'POST', 'PATCH', 'DELETE'];

/** What answers each request; every answer, errors too, is JSON. */
function createHandler(store) {
  const router = new Trouter();

  router.get('/health', () => ({ status: 200, body: { status: 'ok' } }));

  router.get('/tasks', ({ query }) => {
    const asked = input.listing(query);
    const tasks = store.list(asked);
    const next = tasks.length === asked.limit ? tasks.at(-1).id : null;
    return { status: 200, body: { tasks, next } };
  });

  router.post('/tasks', async ({ request }) => {
    const task = store.add(input.newTask(await readJson(request)));
    return { status: 201, body: task, headers: { location: `/tasks/${task.id}` } };
  });

  router.get('/tasks/:id', ({ params }) => ({ status: 200, body: found(store.get(input.id(params.id)), params.id) }));

  router.patch('/tasks/:id', async ({ request, params }) => {
    const id = input.id(params.id);
    const change = input.changedTask(await readJson(request));
    return { status: 200, body: found(store.change(id, change), id) };
  });

  router.delete('/tasks/:id', ({ params }) => {
    const id = input.id(params.id);
    found(store.remove(id) || undefined, id);
    return { status: 204 };
  });

  return async (request, response) => {
    try {
      const [path, query] = split(request.url);
      const { params, handlers } = router.find(request.method, path);
      const handle = handlers[0] ?? (() => refuse(router, request.method, path));
      send(response, await handle({ request, params, query }));
    } catch (error) {
      sendError(response, error);
    }
  };
}

/** The path of a request's target, and what stands behind its '?'. */
function split(url) {
  const mark = url.indexOf('?');
  return mark < 0 ? [url, ''] : [url.slice(0, mark), url.slice(mark + 1)];
}

function refuse(router, method, path) {
  const allowed = METHODS.filter((each) => router.find(each, path).handlers.length > 0);
  if (allowed.length === 0) throw new ServiceError(404, 'not-found', `There is nothing at '${path}'.`);
  const allow = allowed.join(', ');
  throw new ServiceError(405, 'method-not-allowed', `'${path}' takes ${allow}, not ${method}.`, { allow });
}

function found(task, id) {
  if (task === undefined) throw new ServiceError(404, 'not-found', `There is no task '${id}'.`);
  return task;
}

module.exports = { createHandler };
