// features - what a session can do besides calls, against server-everything behind any URL:
// progress, sampling, elicitation, roots, and the notifications of the GET stream. The client
// opens a new connection for every request. One line for each check: "ok - ..." or "not ok - ...".
//
//   node features.mjs --url URL [--only WORD] [--wait 8000] [--stdio]
//
// --stdio: the server does not say what a notification belongs to, so one that it sends during the
// only call may come on that call's stream; the next one comes on the GET stream.
//
// Exit code 0: all passed. 2: wrong arguments.
import { parseArgs } from 'node:util';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { connect, call, within, Wire } from './client.mjs';

let options;
try {
  const text = { type: 'string' };
  options = parseArgs({
    options: {
      url: text,
      only: text,
      wait: { ...text, default: '8000' },
      stdio: { type: 'boolean', default: false },
    },
  }).values;
  new URL(options.url);
} catch (error) {
  console.error(`features: ${error.message}`);
  process.exit(2);
}
const wait = Number(options.wait);
const uri = 'demo://resource/dynamic/text/1';

function sure(truth, what) {
  if (!truth) throw new Error(what);
}

// Resolves with the first value it is given.
function mailbox() {
  const box = {};
  box.arrived = new Promise((resolve) => (box.put = resolve));
  return box;
}

// A session whose every message's stream is remembered, with its GET stream open.
async function open(extra = {}) {
  const session = await connect(options.url, { wire: new Wire({ keepTexts: true }), ...extra });
  await within(wait, session.wire.listening, 'the GET stream');
  return session;
}

// Text of a message seen on the GET stream and not on a POST's, or the other way round.
function cameOnly(wire, method, text) {
  const other = method === 'GET' ? 'POST' : 'GET';
  sure(wire.texts[method].includes(text), `${text} did not come on the ${method} stream`);
  sure(!wire.texts[other].includes(text), `${text} came on the ${other} stream`);
}

// As cameOnly('GET'), where it is known that no call is under way.
async function cameOnGet(wire, text) {
  const end = Date.now() + wait;
  while (options.stdio && !wire.texts.GET.includes(text) && Date.now() < end)
    await new Promise((resolve) => setTimeout(resolve, 100));
  if (options.stdio) sure(wire.texts.GET.includes(text), `${text} never came on the GET stream`);
  else cameOnly(wire, 'GET', text);
}

const checks = {
  'progress: every step of a long call arrives, in order, before its result': async () => {
    const session = await open();
    const steps = [];
    let done = false;
    const answer = await call(
      session.client,
      'trigger-long-running-operation',
      { duration: 1, steps: 10 },
      {
        onprogress: ({ progress, total }) => steps.push(done ? 'late' : `${progress}/${total}`),
        timeout: wait,
      },
    );
    done = true;
    sure(answer.includes('completed'), answer);
    const want = Array.from({ length: 10 }, (_, i) => `${i + 1}/10`);
    sure(steps.join() === want.join(), `steps: ${steps.join()}`);
    await session.close();
  },

  'progress: three long calls at once keep their steps apart': async () => {
    const session = await open();
    const calls = [2, 3, 4].map(async (count) => {
      const steps = [];
      await call(
        session.client,
        'trigger-long-running-operation',
        { duration: 0.6, steps: count },
        { onprogress: ({ progress, total }) => steps.push(`${progress}/${total}`), timeout: wait },
      );
      const want = Array.from({ length: count }, (_, i) => `${i + 1}/${count}`);
      sure(steps.join() === want.join(), `steps: ${steps.join()}`);
    });
    await Promise.all(calls);
    await session.close();
  },

  "sampling: the server's question reaches the client on the call's stream, its answer the call":
    async () => {
      let asked;
      const session = await open({
        capabilities: { sampling: {} },
        prepare: (client) =>
          client.setRequestHandler(CreateMessageRequestSchema, async (request) => {
            asked = request.params.messages[0].content.text;
            return {
              model: 'none',
              role: 'assistant',
              content: { type: 'text', text: 'sampled-4711' },
            };
          }),
      });
      const answer = await call(
        session.client,
        'trigger-sampling-request',
        { prompt: 'question-4711', maxTokens: 10 },
        { timeout: wait },
      );
      sure(asked?.includes('question-4711'), `asked: ${asked}`);
      sure(answer.includes('sampled-4711'), answer);
      cameOnly(session.wire, 'POST', '"sampling/createMessage"');
      await session.close();
    },

  "elicitation: the user's input reaches the call that asked": async () => {
    const session = await open({
      capabilities: { elicitation: { form: {} } },
      prepare: (client) =>
        client.setRequestHandler(ElicitRequestSchema, async () => {
          await new Promise((resolve) => setTimeout(resolve, 300));
          return { action: 'accept', content: { name: 'elicited-4711' } };
        }),
    });
    const answer = await call(session.client, 'trigger-elicitation-request', {}, { timeout: wait });
    sure(answer.includes('Name: elicited-4711'), answer);
    cameOnly(session.wire, 'POST', '"elicitation/create"');
    await session.close();
  },

  'elicitation: a declined one reaches the call too': async () => {
    const session = await open({
      capabilities: { elicitation: { form: {} } },
      prepare: (client) =>
        client.setRequestHandler(ElicitRequestSchema, async () => ({ action: 'decline' })),
    });
    const answer = await call(session.client, 'trigger-elicitation-request', {}, { timeout: wait });
    sure(answer.includes('declined'), answer);
    await session.close();
  },

  'roots: the server asks on the GET stream, and gets its answer': async () => {
    const box = mailbox();
    const session = await open({
      capabilities: { roots: { listChanged: true } },
      prepare: (client) =>
        client.setRequestHandler(ListRootsRequestSchema, async () => {
          box.put();
          return { roots: [{ uri: 'file:///root-4711', name: 'root-4711' }] };
        }),
    });
    await within(wait, box.arrived, 'roots/list');
    cameOnly(session.wire, 'GET', '"roots/list"');
    /* if it overtakes the answer, the server asks once more, in this call */
    const answer = await call(session.client, 'get-roots-list', {}, { timeout: wait });
    sure(answer.includes('root-4711'), answer);
    await session.close();
  },

  'log messages arrive on the GET stream': async () => {
    const box = mailbox();
    const session = await open({
      prepare: (client) =>
        client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => {
          // server-everything writes "Debug-level message", but "Alert level-message".
          if (/level.message/.test(params.data)) box.put();
        }),
    });
    await call(session.client, 'toggle-simulated-logging', {}, { timeout: wait });
    await within(wait, box.arrived, 'the log message');
    await cameOnGet(session.wire, '"notifications/message"');
    await call(session.client, 'toggle-simulated-logging', {}, { timeout: wait });
    await session.close();
  },

  'the updates of a subscribed resource arrive on the GET stream': async () => {
    const box = mailbox();
    const session = await open({
      prepare: (client) =>
        client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) =>
          box.put(params.uri),
        ),
    });
    await session.client.subscribeResource({ uri }, { timeout: wait });
    await call(session.client, 'toggle-subscriber-updates', {}, { timeout: wait });
    const updated = await within(wait, box.arrived, 'the update');
    sure(updated === uri, `updated: ${updated}`);
    await cameOnGet(session.wire, '"notifications/resources/updated"');
    await call(session.client, 'toggle-subscriber-updates', {}, { timeout: wait });
    await session.client.unsubscribeResource({ uri }, { timeout: wait });
    await session.close();
  },

  'twenty calls of a session at once are each answered with their own text': async () => {
    const session = await open();
    const calls = Array.from({ length: 20 }, async (_, i) => {
      const answer = await call(session.client, 'echo', { message: `${i}-4711` }, { timeout: wait });
      sure(answer === `Echo: ${i}-4711`, answer);
    });
    await Promise.all(calls);
    await session.close();
  },

  'lists, resources and prompts are served': async () => {
    const session = await open();
    const { tools } = await session.client.listTools({}, { timeout: wait });
    sure(tools.some(({ name }) => name === 'echo'), 'no echo among the tools');
    const { contents } = await session.client.readResource({ uri }, { timeout: wait });
    sure(contents[0].text.length > 0, 'an empty resource');
    const { prompts } = await session.client.listPrompts({}, { timeout: wait });
    const prompt = await session.client.getPrompt({ name: prompts[0].name }, { timeout: wait });
    sure(prompt.messages.length > 0, 'an empty prompt');
    await session.client.setLoggingLevel('warning', { timeout: wait });
    await session.close();
  },

  'a deleted session is refused from then on': async () => {
    const session = await open();
    const id = session.transport.sessionId;
    await session.transport.terminateSession();
    const answer = await session.wire.fetch(options.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-session-id': id,
        'mcp-protocol-version': '2025-11-25',
      },
      body: '{"jsonrpc":"2.0","id":99,"method":"ping"}',
    });
    await answer.body?.cancel();
    sure([400, 404].includes(answer.status), `status ${answer.status}`);
    await session.close();
  },
};

let passed = 0;
let failed = 0;
for (const [sentence, check] of Object.entries(checks)) {
  if (options.only && !sentence.includes(options.only)) continue;
  try {
    await within(3 * wait, check(), 'the whole check');
    passed++;
    console.log(`ok - ${sentence}`);
  } catch (error) {
    failed++;
    console.log(`not ok - ${sentence}\n#   ${String(error?.message ?? error)}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
