// front_sse - the official SDK v1 client over the old HTTP+SSE transport. Prints one line of JSON.
//
//   node front_sse.mjs sessions --url URL [--sessions 20] [--calls 10] [--concurrency 8]
//   node front_sse.mjs returns --url URL
//
// sessions: many clients; every request opens a connection of its own; whoami must find the same
// server each time. returns: one client that calls, says "ready", and once its stream broke calls
// again until one succeeds; it does nothing about the stream itself.
import { parseArgs } from 'node:util';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { call, within, Wire } from './client.mjs';

const text = { type: 'string' };
const { values: options, positionals } = parseArgs({
  options: {
    url: text,
    sessions: { ...text, default: '20' },
    calls: { ...text, default: '10' },
    concurrency: { ...text, default: '8' },
    notify: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const timeout = 15000;
const NOTES = 3;
const report = { sessions: 0, calls: 0, failures: 0, kinds: {}, servers: {}, notifications: 0 };

function failed(error) {
  const kind = String(error?.message ?? error).slice(0, 160);
  report.failures++;
  report.kinds[kind] = (report.kinds[kind] ?? 0) + 1;
}

async function connect() {
  const wire = new Wire();
  const transport = new SSEClientTransport(new URL(options.url), {
    fetch: wire.fetch,
    eventSourceInit: { fetch: wire.fetch },
  });
  const client = new Client({ name: 'front-sse', version: '1' });
  const session = { client, errors: [], notes: 0, closing: false, endpoint: () => transport._endpoint };
  client.onerror = (error) => session.closing || session.errors.push(error);
  client.setNotificationHandler(LoggingMessageNotificationSchema, () => {
    report.notifications++;
    if (++session.notes === NOTES) session.onNotes();
  });
  session.noted = new Promise((resolve) => (session.onNotes = resolve));
  await client.connect(transport, { timeout });
  session.close = async () => {
    session.closing = true;
    await client.close();
  };
  return session;
}

async function oneSession(number) {
  const seen = new Set();
  report.sessions++;
  const session = await connect();
  try {
    for (let i = 0; i < Number(options.calls); i++) {
      report.calls++;
      const message = `session ${number} call ${i}`;
      if (i % 2 === 0) seen.add(/^[\w-]+/.exec(await call(session.client, 'whoami', {}, { timeout }))[0]);
      else {
        const answer = await call(session.client, 'echo', { message }, { timeout });
        if (!answer.includes(message)) throw new Error(`wrong echo: ${answer}`);
      }
    }
    if (options.notify) {
      await call(session.client, 'notify', { count: NOTES, interval_ms: 1 }, { timeout });
      await within(5000, session.noted, `${NOTES} notifications`);
    }
    session.errors.forEach(failed);
  } finally {
    await session.close();
  }
  if (seen.size !== 1) throw new Error(`one session, several servers: ${[...seen]}`);
  for (const name of seen) report.servers[name] = (report.servers[name] ?? 0) + 1;
}

async function sessions() {
  let next = 0;
  const worker = async () => {
    while (next < Number(options.sessions)) await oneSession(next++).catch(failed);
  };
  await Promise.all(Array.from({ length: Number(options.concurrency) }, worker));
}

async function returns() {
  const session = await connect();
  const before = String(session.endpoint());
  await call(session.client, 'echo', { message: 'before' }, { timeout });
  const broke = new Promise((resolve) => (session.client.onerror = resolve));
  console.log('ready');
  await broke;
  const begun = performance.now();
  const until = begun + 20000;
  for (report.tries = 1; performance.now() < until; report.tries++) {
    try {
      const answer = await call(session.client, 'echo', { message: 'after' }, { timeout: 2000 });
      if (!answer.includes('after')) throw new Error(`wrong echo: ${answer}`);
      report.seconds = Number(((performance.now() - begun) / 1000).toFixed(2));
      break;
    } catch (error) {
      report.lastError = String(error?.message ?? error).slice(0, 160);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
  report.isNew = String(session.endpoint()) !== before;
  if (report.seconds === undefined) failed(report.lastError);
  for (let i = 0; report.seconds !== undefined && i < 5; i++)
    await call(session.client, 'echo', { message: `${i}` }, { timeout }).catch(failed);
  await session.close();
}

await { sessions, returns }[positionals[0]]();
console.log(JSON.stringify(report));
process.exit(report.failures === 0 ? 0 : 1);
