// fixture - an MCP server with all that the conformance runner asks for, for both eras over
// Streamable HTTP (sessions of the legacy one, no session of 2026-07-28), and for the legacy era
// over stdio. It keeps what real servers keep in one process's memory: sessions, streams' events,
// and the key that seals requestState.
//
//   REPLICA=NAME node fixture.mjs --port N     binds 127.0.0.1, says when it listens
//   REPLICA=NAME node fixture.mjs stdio
import http from 'node:http';
import { randomBytes, randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import {
  createMcpHandler,
  createRequestStateCodec,
  fromJsonSchema,
  isInitializeRequest,
  isLegacyRequest,
  McpServer,
  ResourceTemplate,
} from '@modelcontextprotocol/server';
import {
  localhostHostValidation,
  localhostOriginValidation,
  NodeStreamableHTTPServerTransport,
  toNodeHandler,
  toWebRequest,
} from '@modelcontextprotocol/node';
import { StdioServerTransport } from '@modelcontextprotocol/server/stdio';
import { askContext, image, PNG, question, registerTools, text } from './fixture_tools.mjs';

const RETRY_MS = 300;
const BODY_MAX = 8 * 1024 * 1024;
const WATCHED = 'test://watched-resource';

const states = createRequestStateCodec({ key: randomBytes(32) });

// ---- the server, of either era --------------------------------------------------------------------

function registerResources(server) {
  const add = (name, uri, mimeType, content) =>
    server.registerResource(name, uri, { mimeType, description: `The ${name}` }, () => ({
      contents: [{ uri, mimeType, ...content }],
    }));
  const words = 'This is the content of the static text resource.';
  add('static text', 'test://static-text', 'text/plain', { text: words });
  add('static image', 'test://static-binary', 'image/png', { blob: PNG });
  add('watched resource', WATCHED, 'text/plain', { text: 'It may change.' });
  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { mimeType: 'application/json', description: 'The data of an id' },
    (uri, { id }) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: 'application/json',
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
        },
      ],
    }),
  );
}

function registerPrompts(server) {
  const user = (...contents) => ({
    messages: contents.map((content) => ({ role: 'user', content })),
  });
  const args = (...names) =>
    fromJsonSchema({
      type: 'object',
      properties: Object.fromEntries(names.map((name) => [name, { type: 'string' }])),
      required: names,
    });
  server.registerPrompt('test_simple_prompt', { description: 'A text' }, () =>
    user(text('This is a simple prompt for testing.')),
  );
  server.registerPrompt(
    'test_prompt_with_arguments',
    { description: 'A text with two words in it', argsSchema: args('arg1', 'arg2') },
    ({ arg1, arg2 }) => user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  );
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'A resource and a text', argsSchema: args('resourceUri') },
    ({ resourceUri: uri }) =>
      user(
        {
          type: 'resource',
          resource: { uri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' },
        },
        text('Please process the embedded resource above.'),
      ),
  );
  server.registerPrompt('test_prompt_with_image', { description: 'An image and a text' }, () =>
    user(image, text('Please analyze the image above.')),
  );
  server.registerPrompt(
    'test_input_required_result_prompt',
    { description: 'Wants a context first' },
    (ctx) => {
      const context = question(ctx);
      return context === undefined ? askContext() : user(text(`In the context of: ${context}`));
    },
  );
}

// `changed(list)`: who is told that the list of tools or prompts has changed, in this era.
function makeServer(changed) {
  const server = new McpServer(
    { name: 'session-mesh-fixture', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        logging: {},
        completions: {},
      },
      requestState: { verify: states.verify },
    },
  );
  const told = changed ?? ((list) => notifySession(server, list));
  registerTools(server, { states, changed: told });
  registerResources(server);
  registerPrompts(server);
  const values = ['test', 'text', 'testing'];
  server.server.setRequestHandler('completion/complete', ({ params }) => ({
    completion: {
      values: values.filter((value) => value.startsWith(params.argument.value)),
      hasMore: false,
    },
  }));
  const subscribed = new Set();
  server.server.setRequestHandler('resources/subscribe', ({ params }) => {
    subscribed.add(params.uri);
    return {};
  });
  server.server.setRequestHandler('resources/unsubscribe', ({ params }) => {
    subscribed.delete(params.uri);
    return {};
  });
  return server;
}

function notifySession(server, list) {
  if (list === 'tools') server.sendToolListChanged();
  else server.sendPromptListChanged();
}

// ---- legacy: a session is a server, a transport, and the events of its streams ----------------------

// Each event's id is its number in the session; a stream's are not replayed on another.
class EventStore {
  constructor() {
    this.events = [];
  }

  async storeEvent(stream, message) {
    this.events.push({ stream, message });
    return `event-${this.events.length}`;
  }

  find(id) {
    const number = Number(/^event-([1-9]\d*)$/.exec(id)?.[1] ?? 0);
    return { number, stream: this.events[number - 1]?.stream };
  }

  async getStreamIdForEventId(id) {
    return this.find(id).stream;
  }

  async replayEventsAfter(id, { send }) {
    const { number, stream } = this.find(id);
    for (let i = number; i < this.events.length; i++) {
      const event = this.events[i];
      if (event.stream === stream && event.message.jsonrpc !== undefined)
        await send(`event-${i + 1}`, event.message);
    }
    return stream;
  }
}

const sessions = new Map();

async function openSession() {
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: new EventStore(),
    retryInterval: RETRY_MS,
    onsessioninitialized: (id) => sessions.set(id, transport),
    onsessionclosed: (id) => sessions.delete(id),
  });
  await makeServer().connect(transport);
  return transport;
}

function refuse(response, status, code, message) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id: null }));
}

async function serveLegacy(request, response, body) {
  const id = request.headers['mcp-session-id'];
  if (id !== undefined && !sessions.has(id))
    return refuse(response, 404, -32001, 'Session not found');
  const begins = [body].flat().some((message) => isInitializeRequest(message));
  if (id === undefined && !begins)
    return refuse(response, 400, -32000, 'Bad Request: a session id is required');
  const transport = sessions.get(id) ?? (await openSession());
  return transport.handleRequest(request, response, body);
}

// ---- HTTP -----------------------------------------------------------------------------------------

async function readBody(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > BODY_MAX) return { status: 413, message: 'Payload too large' };
    parts.push(part);
  }
  try {
    return { body: JSON.parse(Buffer.concat(parts).toString()) };
  } catch {
    return { status: 400, code: -32700, message: 'Parse error: Invalid JSON' };
  }
}

function makeListener() {
  const modern = createMcpHandler(() => makeServer((list) => modern.notify[`${list}Changed`]()), {
    legacy: 'reject',
  });
  const serveModern = toNodeHandler(modern);
  const hostIsOurs = localhostHostValidation();
  const originIsOurs = localhostOriginValidation();
  return async (request, response) => {
    if (!hostIsOurs(request, response) || !originIsOurs(request, response)) return;
    if (new URL(request.url, 'http://localhost').pathname !== '/mcp') {
      response.writeHead(404).end();
      return;
    }
    const { body, status, code = -32000, message } =
      request.method === 'POST' ? await readBody(request) : {};
    if (status !== undefined) refuse(response, status, code, message);
    else if (await isLegacyRequest(await toWebRequest(request, body), body))
      await serveLegacy(request, response, body);
    else await serveModern(request, response, body);
  };
}

function listen(port) {
  const listener = makeListener();
  const server = http.createServer((request, response) =>
    listener(request, response).catch((error) => {
      console.error(error);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    }),
  );
  server.listen(port, '127.0.0.1', () =>
    console.log(`fixture: listening on port ${server.address().port}`),
  );
}

const { values, positionals } = parseArgs({
  options: { port: { type: 'string', default: '0' } },
  allowPositionals: true,
});
if (positionals[0] === 'stdio') await makeServer().connect(new StdioServerTransport());
else if (positionals.length === 0 && /^\d+$/.test(values.port)) listen(Number(values.port));
else {
  console.error('usage: fixture.mjs --port N | fixture.mjs stdio');
  process.exit(2);
}
