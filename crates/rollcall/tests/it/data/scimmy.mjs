// A service provider (npm's scimmy and scimmy-routers) that keeps what it is told in memory, and takes no member whom
// nobody knows. Arguments: the folder of the modules, the token. It writes its base URL once it listens.
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, token] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const express = require('express');
const SCIMMY = require('scimmy');
const SCIMMYRouters = require('scimmy-routers').default;

const { User, Group } = SCIMMY.Resources;
const SCIMError = SCIMMY.Types.Error;
const [users, groups] = [new Map(), new Map()];

// Names differ from each other in more than their case (RFC 7643, section 4.1.1).
const refuseDuplicate = (stored, id, name, of) => {
  const same = [...stored.values()].some((it) => it.id !== id && of(it).toLowerCase() === name.toLowerCase());
  if (same) throw new SCIMError(409, 'uniqueness', `${name} is there already`);
};

const declare = (type, stored, name, check, gone) => SCIMMY.Resources.declare(type, {
  ingress: (resource, instance) => {
    const before = resource.id && stored.get(resource.id);
    if (resource.id && !before) throw new SCIMError(404, null, `Resource ${resource.id} not found`);
    const id = resource.id ?? randomUUID();
    refuseDuplicate(stored, id, instance[name], (it) => it[name]);
    check(instance);
    const now = new Date();
    const meta = { created: before?.meta.created ?? now, lastModified: now };
    // Plain values: what the library gave keeps a hold on the request.
    stored.set(id, { ...JSON.parse(JSON.stringify(instance)), id, meta });
    return stored.get(id);
  },
  egress: (resource) => {
    if (!resource.id) return resource.filter ? resource.filter.match([...stored.values()]) : [...stored.values()];
    if (!stored.has(resource.id)) throw new SCIMError(404, null, `Resource ${resource.id} not found`);
    return stored.get(resource.id);
  },
  degress: (resource) => {
    if (!stored.delete(resource.id)) throw new SCIMError(404, null, `Resource ${resource.id} not found`);
    gone(resource.id);
  },
});

declare(User.extend(SCIMMY.Schemas.EnterpriseUser, false), users, 'userName', () => {}, (id) => {
  for (const group of groups.values()) group.members = group.members?.filter(({ value }) => value !== id);
});
declare(Group, groups, 'displayName', ({ members }) => {
  for (const { value } of members ?? []) {
    if (!users.has(value)) throw new SCIMError(400, 'invalidValue', `${value} is no user`);
  }
}, () => {});

const app = express();
app.use('/scim', new SCIMMYRouters({
  type: 'bearer',
  handler: (request) => {
    if (request.header('authorization') !== `Bearer ${token}`) throw new Error('This token is not known.');
  },
}));
const server = app.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/scim`));
