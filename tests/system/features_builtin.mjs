// features_builtin - what a session of the built-in server can do besides calls, behind any URL:
// progress, a question to the user, a resource of the mesh. The client opens a new connection for
// every request. One line for each check: "ok - ..." or "not ok - ...".
//
//   node features_builtin.mjs --url URL [--wait 8000]
import { parseArgs } from 'node:util';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { connect, call, within, Wire } from './client.mjs';

const text = { type: 'string' };
const options = parseArgs({ options: { url: text, wait: { ...text, default: '8000' } } }).values;
const wait = Number(options.wait);

function sure(truth, what) {
  if (!truth) throw new Error(what);
}

async function open(extra = {}) {
  const session = await connect(options.url, { wire: new Wire({ keepTexts: true }), ...extra });
  await within(wait, session.wire.listening, 'the GET stream');
  return session;
}

const checks = {
  'progress: every step of a slow call arrives, in order, before its result': async () => {
    const session = await open();
    const steps = [];
    let done = false;
    await call(
      session.client,
      'slow',
      { seconds: 1, steps: 5 },
      { onprogress: ({ progress }) => steps.push(done ? 'late' : progress), timeout: wait },
    );
    done = true;
    sure(steps.length === 5 && !steps.includes('late'), `steps: ${steps}`);
    sure(steps.every((step, i) => i === 0 || step > steps[i - 1]), `steps: ${steps}`);
    await session.close();
  },

  "elicitation: the user's answer reaches the call that asked": async () => {
    let asked;
    const session = await open({
      capabilities: { elicitation: { form: {} } },
      prepare: (client) =>
        client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
          asked = params;
          await new Promise((resolve) => setTimeout(resolve, 300));
          const [name] = Object.keys(params.requestedSchema.properties);
          return { action: 'accept', content: { [name]: 'elicited-4711' } };
        }),
    });
    const answer = await call(session.client, 'ask', { question: 'what-4711' }, { timeout: wait });
    sure(JSON.stringify(asked).includes('what-4711'), `asked: ${JSON.stringify(asked)}`);
    sure(answer.includes('elicited-4711'), answer);
    sure(session.wire.texts.POST.includes('"elicitation/create"'), 'not on the POST stream');
    sure(!session.wire.texts.GET.includes('"elicitation/create"'), 'on the GET stream');
    await session.close();
  },

  'a counter counts each call once, wherever the calls arrive': async () => {
    const session = await open();
    for (let i = 1; i <= 12; i++) {
      const answer = await call(session.client, 'counter', {}, { timeout: wait });
      sure(new RegExp(`\\b${i}\\b`).test(answer), `call ${i}: ${answer}`);
    }
    await session.close();
  },

  'twenty calls of a session at once are each answered with their own text': async () => {
    const session = await open();
    const calls = Array.from({ length: 20 }, async (_, i) => {
      const answer = await call(session.client, 'echo', { message: `${i}-4711` }, { timeout: wait });
      sure(answer === `${i}-4711`, answer);
    });
    await Promise.all(calls);
    await session.close();
  },

  'whoami names one peer, wherever the calls arrive': async () => {
    const session = await open();
    const names = new Set();
    for (let i = 0; i < 6; i++) {
      const answer = await call(session.client, 'whoami', {}, { timeout: wait });
      names.add(/\bp\d\b/.exec(answer)?.[0]);
    }
    sure(names.size === 1 && ![...names].includes(undefined), `names: ${[...names]}`);
    await session.close();
  },

  'the members of the mesh are a resource': async () => {
    const session = await open();
    const { resources } = await session.client.listResources({}, { timeout: wait });
    const { uri } = resources.find(({ uri }) => /members/.test(uri)) ?? {};
    const { contents } = await session.client.readResource({ uri }, { timeout: wait });
    const { members } = JSON.parse(contents[0].text);
    const names = members.map(({ name }) => name).sort();
    sure(names.join() === 'p1,p2,p3', `members: ${names}`);
    await session.client.subscribeResource({ uri }, { timeout: wait });
    await session.client.unsubscribeResource({ uri }, { timeout: wait });
    await session.close();
  },
};

let failed = 0;
for (const [sentence, check] of Object.entries(checks)) {
  try {
    await within(3 * wait, check(), 'the whole check');
    console.log(`ok - ${sentence}`);
  } catch (error) {
    failed++;
    console.log(`not ok - ${sentence}\n#   ${String(error?.message ?? error)}`);
  }
}
process.exit(failed === 0 ? 0 : 1);
