// sessions - many sessions of the official SDK client, a new connection for every request: are
// all calls of a session answered, and by one and the same replica? Prints one line of JSON.
//
//   node sessions.mjs --url URL [--sessions 50] [--calls 10] [--concurrency 20]
//                     [--variable REPLICA] [--timeout 15000] [--keep] [--expect-fail]
//
// Half of the calls are get-env, whose environment variable names the replica, half are echo.
// Exit code 0: no failure. With --expect-fail: every session failed. 2: wrong arguments.
import { parseArgs } from 'node:util';
import { connect, call, Wire } from './client.mjs';

const text = { type: 'string' };
const flag = { type: 'boolean', default: false };
let options;
try {
  options = parseArgs({
    options: {
      url: text,
      sessions: { ...text, default: '50' },
      calls: { ...text, default: '10' },
      concurrency: { ...text, default: '20' },
      variable: { ...text, default: 'REPLICA' },
      timeout: { ...text, default: '15000' },
      keep: flag,
      'expect-fail': flag,
    },
  }).values;
  new URL(options.url);
  for (const name of ['sessions', 'calls', 'concurrency', 'timeout'])
    if (!/^[1-9]\d*$/.test(options[name])) throw new Error(`--${name}: a number is wanted`);
} catch (error) {
  console.error(`sessions: ${error.message}`);
  process.exit(2);
}
const sessions = Number(options.sessions);
const calls = Number(options.calls);
const timeout = Number(options.timeout);

const report = { sessions, calls: 0, failures: 0, failedSessions: 0, connections: 0, replicas: {} };
const kinds = new Map();
const latencies = [];

function failed(error) {
  report.failures++;
  const kind = String(error?.message ?? error).slice(0, 160);
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
}

async function oneCall(session, number, i, seen) {
  const begun = performance.now();
  if (i % 2 === 0) {
    const replica = JSON.parse(await call(session.client, 'get-env', {}, { timeout }))[
      options.variable
    ];
    seen.add(replica ?? 'unnamed');
    if (seen.size > 1) throw new Error('the session was answered by more than one replica');
  } else {
    const message = `session ${number} call ${i}`;
    const answer = await call(session.client, 'echo', { message }, { timeout });
    if (answer !== `Echo: ${message}`) throw new Error(`wrong echo: ${answer}`);
  }
  latencies.push(performance.now() - begun);
}

async function oneSession(number) {
  const before = report.failures;
  const wire = new Wire();
  const seen = new Set();
  let session;
  try {
    session = await connect(options.url, { timeout, wire });
  } catch (error) {
    failed(error);
  }
  for (let i = 0; session && i < calls; i++) {
    report.calls++;
    try {
      await oneCall(session, number, i, seen);
    } catch (error) {
      failed(error);
    }
  }
  session?.errors.forEach(failed);
  try {
    await session?.close({ end: !options.keep });
  } catch (error) {
    failed(error);
  }
  for (const replica of seen) report.replicas[replica] = (report.replicas[replica] ?? 0) + 1;
  report.connections += wire.connections;
  if (report.failures > before) report.failedSessions++;
}

const begun = performance.now();
let next = 0;
const workers = Array.from({ length: Number(options.concurrency) }, async () => {
  while (next < sessions) await oneSession(next++);
});
await Promise.all(workers);
report.seconds = Number(((performance.now() - begun) / 1000).toFixed(2));

latencies.sort((a, b) => a - b);
const at = (share) => Number((latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(1));
report.ms = { p50: at(0.5), p99: at(0.99), max: Number((latencies.at(-1) ?? 0).toFixed(1)) };
report.kinds = Object.fromEntries([...kinds].sort((a, b) => b[1] - a[1]).slice(0, 8));
console.log(JSON.stringify(report));
const good = options['expect-fail'] ? report.failedSessions === sessions : report.failures === 0;
process.exit(good ? 0 : 1);
