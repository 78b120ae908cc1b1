'use strict';

const { ServiceError } = require('./exchange');

// The validator is loaded with the first request that brings something to check: a start does not wait for it.
let loaded;

function schemas() {
  if (loaded !== undefined) return loaded;
  const v = require('valibot');
  const title = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(200));
  const whole = (low, high) => v.pipe(v.string(), v.regex(/^\d{1,15}$/), v.transform(Number), v.minValue(low), v.maxValue(high));
  loaded = {
    parse: v.safeParse,
    pathOf: v.getDotPath,
    newTask: v.strictObject({ title }),
    changedTask: v.pipe(
      v.strictObject({ title: v.optional(title), done: v.optional(v.boolean()) }),
      v.check((change) => Object.keys(change).length > 0, 'There is nothing to change'),
    ),
    id: whole(1, Number.MAX_SAFE_INTEGER),
    listing: v.strictObject({
      done: v.optional(v.pipe(v.picklist(['true', 'false']), v.transform((word) => word === 'true'))),
      after: v.optional(whole(0, Number.MAX_SAFE_INTEGER), '0'),
      limit: v.optional(whole(1, 1000), '100'),
    }),
  };
  return loaded;
}

/** `value` as the schema has it. Throws a ServiceError that names every place where it is wrong. */
function checked(name, value) {
  const all = schemas();
  const result = all.parse(all[name], value);
  if (result.success) return result.output;
  const sentences = result.issues.map((issue) => {
    const path = all.pathOf(issue);
    return path === null ? `${issue.message}.` : `'${path}': ${issue.message}.`;
  });
  throw new ServiceError(400, 'invalid', sentences.join(' '));
}

module.exports = {
  newTask: (value) => checked('newTask', value),
  changedTask: (value) => checked('changedTask', value),
  id: (value) => checked('id', value),
  listing: (value) => checked('listing', Object.fromEntries(new URLSearchParams(value))),
};
