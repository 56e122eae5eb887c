// A provider (npm's oidc-provider) with one client. Arguments: the module's path, the client's secret, the address of the
// console. It writes its issuer once it listens.
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const [module, secret, consoleUrl] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(module));

let answer;
const server = createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'rollcall hub',
      client_secret: secret,
      redirect_uris: [`${consoleUrl}/console/sign-in/return`],
      post_logout_redirect_uris: [`${consoleUrl}/console/sign-in`],
    }],
    claims: { openid: ['sub', 'preferred_username', 'realm'], profile: ['name'] },
    // The claims of the scopes are in the ID token, and not at a further endpoint alone.
    conformIdTokenClaims: false,
    cookies: { keys: ['for a test'] },
    findAccount: (context, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, name: 'Somebody', realm: { roles: ['auditors'] } }),
    }),
    pkce: { required: () => true },
  });
  answer = provider.callback();
  console.log(issuer);
});
