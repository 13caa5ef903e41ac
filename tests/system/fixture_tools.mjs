// fixture_tools - the tools of the fixture server: those whose names begin with test_ (and
// json_schema_2020_12_tool) are the conformance runner's contract, in both eras; the rest is ours,
// to see who ran what and how often. A tool is { description, inputSchema, annotations, run }.
import { fromJsonSchema, inputRequired, inputResponse } from '@modelcontextprotocol/server';

export const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg==';
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=';
const HUGE_MAX = 64 * 1024 * 1024;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const text = (value) => ({ type: 'text', text: value });
export const image = { type: 'image', data: PNG, mimeType: 'image/png' };
const say = (value) => ({ content: [text(value)] });
const sayJson = (value) => say(JSON.stringify(value));

function object(properties, required = []) {
  return { type: 'object', properties, required };
}

function resource(uri, mimeType, value) {
  return { type: 'resource', resource: { uri, mimeType, text: value } };
}

async function progress(ctx, done, total) {
  const progressToken = ctx.mcpReq._meta?.progressToken;
  if (progressToken !== undefined)
    await ctx.mcpReq.notify({
      method: 'notifications/progress',
      params: { progressToken, progress: done, total },
    });
}

// ---- content, logging, progress, errors -----------------------------------------------------------

const plain = {
  test_simple_text: {
    description: 'Answers with a text',
    run: () => say('This is a simple text response for testing.'),
  },
  test_image_content: { description: 'Answers with an image', run: () => ({ content: [image] }) },
  test_audio_content: {
    description: 'Answers with a sound',
    run: () => ({ content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }] }),
  },
  test_embedded_resource: {
    description: 'Answers with a resource',
    run: () => ({
      content: [
        resource('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
      ],
    }),
  },
  test_multiple_content_types: {
    description: 'Answers with a text, an image and a resource',
    run: () => ({
      content: [
        text('Multiple content types test:'),
        image,
        resource('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
      ],
    }),
  },
  test_tool_with_logging: {
    description: 'Logs three messages, 50 ms apart',
    run: async (_, ctx) => {
      await ctx.mcpReq.log('info', 'Tool execution started');
      await sleep(50);
      await ctx.mcpReq.log('info', 'Tool processing data');
      await sleep(50);
      await ctx.mcpReq.log('info', 'Tool execution completed');
      return say('Logged three messages.');
    },
  },
  test_logging_tool: {
    description: 'Logs one message, for whom the request asked for it',
    run: async (_, ctx) => {
      await ctx.mcpReq.log('info', 'A message of test_logging_tool');
      return say('Logged what may be logged.');
    },
  },
  test_tool_with_progress: {
    description: 'Reports 0, 50 and 100 of 100, 50 ms apart',
    run: async (_, ctx) => {
      for (const done of [0, 50, 100]) {
        if (done > 0) await sleep(50);
        await progress(ctx, done, 100);
      }
      return say('Reported its progress.');
    },
  },
  test_error_handling: {
    description: 'Fails',
    run: () => {
      throw new Error('This tool intentionally returns an error for testing');
    },
  },
  test_reconnection: {
    description: 'Closes the stream of its request, then answers on a resumed one',
    run: async (_, ctx) => {
      ctx.http?.closeSSE?.();
      await sleep(100);
      return say('Reconnection test completed.');
    },
  },
  json_schema_2020_12_tool: {
    description: 'Has keywords of JSON Schema 2020-12 in its input schema',
    inputSchema: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: {
          $anchor: 'addressDef',
          type: 'object',
          properties: { street: { type: 'string' }, city: { type: 'string' } },
        },
      },
      properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' },
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
    run: (args) => sayJson(args),
  },
  test_custom_header: {
    description: 'Has an argument that travels as a header too',
    inputSchema: object({ region: { type: 'string', 'x-mcp-header': 'Region' } }),
    run: ({ region }) => say(`region: ${region}`),
  },
};

// ---- questions to the client, before 2026-07-28: on the stream of the call they belong to ----------

const asksModel = (prompt) => ({
  method: 'sampling/createMessage',
  params: { messages: [{ role: 'user', content: text(prompt) }], maxTokens: 100 },
});

async function elicit(ctx, message, requestedSchema) {
  const { action, content } = await ctx.mcpReq.send({
    method: 'elicitation/create',
    params: { message, requestedSchema },
  });
  return say(`Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`);
}

const options = ['option1', 'option2', 'option3'];
const titled = (word) =>
  ['First', 'Second', 'Third'].map((title, i) => ({
    const: `value${i + 1}`,
    title: `${title} ${word}`,
  }));

const asking = {
  test_sampling: {
    description: "Asks the client's model",
    inputSchema: object({ prompt: { type: 'string' } }, ['prompt']),
    run: async ({ prompt }, ctx) => {
      const answer = await ctx.mcpReq.send(asksModel(prompt));
      return say(`LLM response: ${answer.content.text}`);
    },
  },
  test_elicitation: {
    description: 'Asks the user for a name and an address',
    inputSchema: object({ message: { type: 'string' } }, ['message']),
    run: ({ message }, ctx) =>
      elicit(
        ctx,
        message,
        object(
          {
            username: { type: 'string', description: "User's response" },
            email: { type: 'string', description: "User's email address" },
          },
          ['username', 'email'],
        ),
      ),
  },
  test_elicitation_sep1034_defaults: {
    description: 'Asks the user, with a default of each type',
    run: (_, ctx) =>
      elicit(
        ctx,
        'Are these right?',
        object({
          name: { type: 'string', default: 'John Doe' },
          age: { type: 'integer', default: 30 },
          score: { type: 'number', default: 95.5 },
          status: {
            type: 'string',
            enum: ['active', 'inactive', 'pending'],
            default: 'active',
          },
          verified: { type: 'boolean', default: true },
        }),
      ),
  },
  test_elicitation_sep1330_enums: {
    description: 'Asks the user to choose, in each of the five ways',
    run: (_, ctx) =>
      elicit(
        ctx,
        'Please choose.',
        object({
          untitledSingle: { type: 'string', enum: options },
          titledSingle: { type: 'string', oneOf: titled('Option') },
          legacyEnum: {
            type: 'string',
            enum: ['opt1', 'opt2', 'opt3'],
            enumNames: ['Option One', 'Option Two', 'Option Three'],
          },
          untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
          titledMulti: { type: 'array', items: { anyOf: titled('Choice') } },
        }),
      ),
  },
};

// ---- questions to the client in results, 2026-07-28 ------------------------------------------------

const ask = (message, property, type = 'string') =>
  inputRequired.elicit({ message, requestedSchema: object({ [property]: { type } }, [property]) });
const askModel = (question, maxTokens = 100) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: text(question) }], maxTokens });

const accepted = (ctx, key) => {
  const given = inputResponse(ctx.mcpReq.inputResponses, key);
  return given.kind === 'elicit' && given.action === 'accept' ? given.content : undefined;
};

// The capabilities of the request, else (before 2026-07-28) those of the session.
function capabilities(ctx, server) {
  const inEnvelope = ctx.mcpReq.envelope?.['io.modelcontextprotocol/clientCapabilities'];
  return inEnvelope ?? server.server.getClientCapabilities() ?? {};
}

export const question = (ctx) => accepted(ctx, 'user_context')?.context;
export const askContext = () =>
  inputRequired({
    inputRequests: { user_context: ask('What context should the prompt use?', 'context') },
  });

const inputs = (states) => ({
  test_input_required_result_elicitation: {
    description: 'Wants the name of the user',
    run: (_, ctx) => {
      const name = accepted(ctx, 'user_name')?.name;
      if (name !== undefined) return say(`Hello, ${name}!`);
      return inputRequired({ inputRequests: { user_name: ask('What is your name?', 'name') } });
    },
  },
  test_input_required_result_sampling: {
    description: "Wants an answer of the client's model",
    run: (_, ctx) => {
      const given = inputResponse(ctx.mcpReq.inputResponses, 'capital_question');
      if (given.kind === 'sampling') return say(`The model said: ${given.result.content.text}`);
      return inputRequired({
        inputRequests: { capital_question: askModel('What is the capital of France?') },
      });
    },
  },
  test_input_required_result_list_roots: {
    description: "Wants the client's roots",
    run: (_, ctx) => {
      const given = inputResponse(ctx.mcpReq.inputResponses, 'client_roots');
      if (given.kind === 'roots') return say(given.roots.map(({ uri }) => uri).join('\n'));
      return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
    },
  },
  test_input_required_result_request_state: {
    description: 'Wants a confirmation and its own state back',
    run: async (_, ctx) => {
      if (ctx.mcpReq.requestState()?.step === 'confirm' && accepted(ctx, 'confirm') !== undefined)
        return say('state-ok');
      return inputRequired({
        inputRequests: { confirm: ask('Please confirm', 'ok', 'boolean') },
        requestState: await states.mint({ step: 'confirm' }),
      });
    },
  },
  test_input_required_result_multiple_inputs: {
    description: 'Wants three kinds of input at once, and its own state back',
    run: async (_, ctx) => {
      const kinds = ['user_name', 'greeting', 'client_roots'].map(
        (key) => inputResponse(ctx.mcpReq.inputResponses, key).kind,
      );
      if (ctx.mcpReq.requestState()?.step === 'three' && !kinds.includes('missing'))
        return say(`Got ${kinds.join(', ')}.`);
      return inputRequired({
        inputRequests: {
          user_name: ask('What is your name?', 'name'),
          greeting: askModel('Generate a greeting', 50),
          client_roots: inputRequired.listRoots(),
        },
        requestState: await states.mint({ step: 'three' }),
      });
    },
  },
  test_input_required_result_multi_round: {
    description: 'Wants input twice, with another state each time',
    run: async (_, ctx) => {
      const state = ctx.mcpReq.requestState();
      const name = accepted(ctx, 'step1')?.name;
      const color = accepted(ctx, 'step2')?.color;
      if (state?.step === 2 && color !== undefined) return say(`${state.name} likes ${color}.`);
      if (state?.step === 1 && name !== undefined)
        return inputRequired({
          inputRequests: { step2: ask('Step 2: What is your favorite color?', 'color') },
          requestState: await states.mint({ step: 2, name }),
        });
      return inputRequired({
        inputRequests: { step1: ask('Step 1: What is your name?', 'name') },
        requestState: await states.mint({ step: 1 }),
      });
    },
  },
  test_input_required_result_tampered_state: {
    description: 'Wants a confirmation, and its state back unchanged',
    run: async (_, ctx) => {
      if (ctx.mcpReq.requestState()?.step === 'sealed' && accepted(ctx, 'confirm') !== undefined)
        return say('The state was not changed.');
      return inputRequired({
        inputRequests: { confirm: ask('Please confirm', 'ok', 'boolean') },
        requestState: await states.mint({ step: 'sealed' }),
      });
    },
  },
  test_input_required_result_capabilities: {
    description: 'Wants only what the client said it can give',
    run: (_, ctx, server) => {
      const can = capabilities(ctx, server);
      const inputRequests = {
        ...(can.sampling && { greeting: askModel('Generate a greeting') }),
        ...(can.elicitation && { user_name: ask('What is your name?', 'name') }),
      };
      const given = Object.keys(ctx.mcpReq.inputResponses ?? {}).length > 0;
      if (given || Object.keys(inputRequests).length === 0) return say('Nothing more is wanted.');
      return inputRequired({ inputRequests });
    },
  },
  test_missing_capability: {
    description: 'Cannot be called by a client without sampling',
    run: (_, ctx) => {
      const given = inputResponse(ctx.mcpReq.inputResponses, 'answer');
      if (given.kind === 'sampling') return say(`The model said: ${given.result.content.text}`);
      return inputRequired({ inputRequests: { answer: askModel('Are you there?') } });
    },
  },
  test_streaming_elicitation: {
    description: 'Reports progress, then wants input',
    run: async (_, ctx) => {
      await progress(ctx, 1, 2);
      if (accepted(ctx, 'user_name') !== undefined) return say('Thank you.');
      return inputRequired({ inputRequests: { user_name: ask('What is your name?', 'name') } });
    },
  },
});

// ---- ours -----------------------------------------------------------------------------------------

// Executions by tool, of this process.
const executions = {};
const executed = (name) => (executions[name] = (executions[name] ?? 0) + 1);

const HINTS = ['readOnly', 'destructive', 'idempotent', 'openWorld'];

// hints_0000 ... hints_1111: a digit for each of HINTS. All count their executions.
function hinted() {
  return Object.fromEntries(
    Array.from({ length: 1 << HINTS.length }, (_, i) => {
      const name = `hints_${i.toString(2).padStart(HINTS.length, '0')}`;
      const annotations = Object.fromEntries(
        HINTS.map((hint, k) => [`${hint}Hint`, name[name.length - HINTS.length + k] === '1']),
      );
      const run = async ({ ms = 0 }) => {
        const count = executed(name);
        await sleep(Math.min(ms, 60000));
        return sayJson({ replica: process.env.REPLICA, tool: name, executions: count });
      };
      const inputSchema = object({ ms: { type: 'integer', minimum: 0 } });
      return [name, { description: 'Counts its executions', annotations, inputSchema, run }];
    }),
  );
}

const ours = (counter) => ({
  whoami: {
    description: 'The replica that runs this',
    annotations: { readOnlyHint: true },
    run: () => sayJson({ replica: process.env.REPLICA, pid: process.pid }),
  },
  counter: {
    description: 'Adds one, and tells the counts of this session and of the process',
    annotations: { readOnlyHint: false, idempotentHint: false },
    run: () => {
      counter.value++;
      return sayJson({
        replica: process.env.REPLICA,
        session: counter.value,
        process: executed('counter'),
      });
    },
  },
  ask_aside: {
    description: "Asks the client's model on the session's own stream, not on that of the call",
    inputSchema: object({ prompt: { type: 'string' } }, ['prompt']),
    run: async ({ prompt }, ctx, server) => {
      const answer = await server.server.request(asksModel(prompt));
      return say(`The model said: ${answer.content.text}`);
    },
  },
  executions: {
    description: 'How often each tool that counts was run by this process',
    annotations: { readOnlyHint: true },
    run: () => sayJson({ replica: process.env.REPLICA, executions }),
  },
  slow: {
    description: 'Takes its time, with progress; counts its executions',
    inputSchema: object({
      ms: { type: 'integer', minimum: 0 },
      steps: { type: 'integer', minimum: 1 },
    }),
    run: async ({ ms = 1000, steps = 10 }, ctx) => {
      const count = executed('slow');
      for (let i = 1; i <= steps && !ctx.mcpReq.signal.aborted; i++) {
        await sleep(Math.min(ms, 60000) / steps);
        await progress(ctx, i, steps);
      }
      return sayJson({ replica: process.env.REPLICA, executions: count });
    },
  },
  huge: {
    description: `Answers with so many bytes, at most ${HUGE_MAX}`,
    annotations: { readOnlyHint: true },
    inputSchema: object({ bytes: { type: 'integer', minimum: 0, maximum: HUGE_MAX } }, ['bytes']),
    run: ({ bytes }) => say('x'.repeat(bytes)),
  },
  ...hinted(),
});

// ---- all of them ----------------------------------------------------------------------------------

// `changed(list)` tells whoever listens that the list of tools or prompts has changed.
export function registerTools(server, { states, changed }) {
  const triggers = {
    test_trigger_tool_change: {
      description: 'Tells the listeners that the list of tools has changed',
      run: () => (changed('tools'), say('Told them.')),
    },
    test_trigger_prompt_change: {
      description: 'Tells the listeners that the list of prompts has changed',
      run: () => (changed('prompts'), say('Told them.')),
    },
  };
  const tools = { ...plain, ...asking, ...inputs(states), ...triggers, ...ours({ value: 0 }) };
  for (const [name, tool] of Object.entries(tools)) {
    const { description, annotations, inputSchema = object({}), run } = tool;
    server.registerTool(
      name,
      { description, annotations, inputSchema: fromJsonSchema(inputSchema) },
      (args, ctx) => run(args, ctx, server),
    );
  }
}
