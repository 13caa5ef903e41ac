// judges - sessions of the official SDK clients, v1 and v2 in turn, each with its GET stream, that
// ride along while peers come and go: whatever happens, their users see no failure. Every request is
// a new connection to the next target; one that refuses is passed over, as a balancer does.
//
//   node judges.mjs --to HOST:PORT[,...] [--open-at HOST:PORT[,...]] [--sessions 10] [--pause 300]
//
// Calls are echo (safe to repeat) and, while it is `loud`, say (not), whose event has to come on the
// GET stream, once. Reads lines: "out N", "in N" (a target, from 0), "quiet", "loud", "end"; "lenient":
// from now on failures may be (they are counted as forgiven), until "strict".
// Says "judging" once all are connected; then one line of JSON. Exit code 0: no failure.
import readline from 'node:readline';
import { parseArgs } from 'node:util';
import * as v1 from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import * as v2 from '@modelcontextprotocol/client';
import { call, within, Wire } from './client.mjs';

const text = { type: 'string' };
const { values: options } = parseArgs({
  options: {
    to: text,
    'open-at': text,
    sessions: { ...text, default: '10' },
    pause: { ...text, default: '300' },
  },
});
const targets = options.to.split(',').map((host) => ({ host, isOut: false }));
const openers = (options['open-at'] ?? options.to).split(',').map((host) => ({ host, isOut: false }));
const timeout = 12000;
const report = { sessions: 0, calls: 0, said: 0, events: 0, streams: 0, failures: 0, kinds: {}, forgiven: {} };
let isLoud = false;
let isLenient = false;
let isOver = false;
let turn = 0;

function failed(who, error, isForgiven = isLenient) {
  const kind = `${who}: ${String(error?.message ?? error)}`.slice(0, 200);
  const kinds = isForgiven ? report.forgiven : report.kinds;
  if (!isForgiven) report.failures++;
  kinds[kind] = (kinds[kind] ?? 0) + 1;
}

function nextOf(list) {
  for (let i = 0; i < list.length; i++) {
    const target = list[turn++ % list.length];
    if (!target.isOut) return target;
  }
  return list[turn++ % list.length];
}

class Spread extends Wire {
  async request(url, init) {
    const opens = String(init.body ?? '').includes('"method":"initialize"');
    const list = opens ? openers : targets;
    for (let tries = 1; ; tries++) {
      try {
        const next = new URL(url);
        next.host = nextOf(list).host;
        if ((init.method ?? 'GET') === 'GET') report.streams++;
        return await super.request(next, init);
      } catch (error) {
        if (error.code !== 'ECONNREFUSED' || tries >= list.length) throw error;
      }
    }
  }
}

const generations = [
  {
    name: 'v1',
    make: (info) => new v1.Client(info),
    transport: HttpV1,
    log: LoggingMessageNotificationSchema,
    call,
  },
  {
    name: 'v2',
    make: (info) => new v2.Client(info),
    transport: v2.StreamableHTTPClientTransport,
    log: 'notifications/message',
    call: (client, name, args, more) =>
      call({ callTool: (params, _, rest) => client.callTool(params, rest) }, name, args, more),
  },
];

class Judge {
  constructor(number) {
    this.number = number;
    this.sdk = generations[number % generations.length];
    this.who = this.sdk.name;
    this.said = new Map(); // number -> how often its event came
    this.isClosing = false;
  }

  async connect() {
    const wire = new Spread();
    this.client = this.sdk.make({ name: 'judge', version: '1' });
    this.client.onerror = (error) => this.isClosing || failed(`${this.who} told`, error);
    this.client.setNotificationHandler(this.sdk.log, ({ params }) => this.heard(params.data));
    this.transport = new this.sdk.transport(new URL('http://127.0.0.1/mcp'), { fetch: wire.fetch });
    await this.client.connect(this.transport, { timeout });
    await this.client.listTools({}, { timeout });
    await within(timeout, wire.listening, 'the GET stream');
    this.id = this.transport.sessionId;
    report.sessions++;
  }

  heard(data) {
    if (data?.said === undefined) return;
    report.events++;
    if (!this.said.has(data.said)) failed(this.who, `an event that it did not ask for`);
    this.said.set(data.said, (this.said.get(data.said) ?? 0) + 1);
    if (this.said.get(data.said) > 1) failed(this.who, 'an event twice');
  }

  async once(i) {
    report.calls++;
    if (isLoud && i % 3 === 2) {
      const n = 1e9 * (this.number + 1) + i; // nobody else's
      this.said.set(n, 0);
      report.said++;
      await this.sdk.call(this.client, 'say', { n }, { timeout });
      return;
    }
    const message = `judge ${this.number} call ${i}`;
    const answer = await this.sdk.call(this.client, 'echo', { message }, { timeout });
    if (answer !== message) throw new Error(`wrong echo: ${answer}`);
  }

  async run() {
    const pause = Number(options.pause);
    await new Promise((resolve) => setTimeout(resolve, (pause * this.number) / Number(options.sessions)));
    for (let i = 0; !isOver; i++) {
      const wasLenient = isLenient;
      await this.once(i).catch((error) => failed(this.who, error, wasLenient));
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  async end() {
    await this.once(1e6).catch((error) => failed(`${this.who} at the end`, error));
    for (let waited = 0; waited < 3000 && [...this.said.values()].includes(0); waited += 100)
      await new Promise((resolve) => setTimeout(resolve, 100));
    for (const count of this.said.values()) if (count === 0) failed(this.who, 'an event that never came');
    if (this.transport.sessionId !== this.id) failed(this.who, 'another session id');
    this.isClosing = true;
    await this.transport.terminateSession().catch((error) => failed(`${this.who} ending`, error));
    await this.client.close();
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, number] = line.split(' ');
  if (word === 'end') isOver = true;
  else if (word === 'loud' || word === 'quiet') isLoud = word === 'loud';
  else if (word === 'lenient' || word === 'strict') isLenient = word === 'lenient';
  else targets[Number(number)].isOut = word === 'out';
});

const judges = Array.from({ length: Number(options.sessions) }, (_, i) => new Judge(i));
for (const judge of judges)
  await judge.connect().catch((error) => failed(`${judge.who} connecting`, error));
const present = judges.filter((judge) => judge.id !== undefined);
console.log('judging');
await Promise.all(present.map((judge) => judge.run()));
await Promise.all(present.map((judge) => judge.end()));
console.log(JSON.stringify(report));
process.exit(report.failures === 0 && report.sessions === judges.length ? 0 : 1);
