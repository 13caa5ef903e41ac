// client - what the system tests share: the official SDK client over a fetch that opens a new
// connection for every request (undici would stay on one connection and hide a wrong replica),
// and that remembers which HTTP request each message came back on. No checks of its own.
import http from 'node:http';
import { Readable } from 'node:stream';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

// Every connection that was opened, and the streams' texts by HTTP method where one asks for it.
export class Wire {
  constructor({ keepTexts = false } = {}) {
    this.connections = 0;
    this.keepTexts = keepTexts;
    this.texts = { GET: '', POST: '', DELETE: '' };
    this.listening = new Promise((resolve) => (this.onListening = resolve));
    this.fetch = (url, init) => this.request(new URL(url), init);
  }

  request(url, init) {
    return new Promise((resolve, reject) => {
      const headers = Object.fromEntries(new Headers(init.headers).entries());
      headers.connection = 'close';
      if (init.body !== undefined) headers['content-length'] = Buffer.byteLength(init.body);
      this.connections++;
      const request = http.request(
        url,
        { method: init.method ?? 'GET', headers, agent: false, signal: init.signal ?? undefined },
        (answer) => resolve(this.answered(request, answer)),
      );
      request.on('error', reject);
      request.end(init.body);
    });
  }

  answered(request, answer) {
    const { method } = request;
    if (method === 'GET' && answer.statusCode === 200) this.onListening();
    if (this.keepTexts) answer.on('data', (bytes) => (this.texts[method] += bytes));
    const empty = [204, 304].includes(answer.statusCode);
    if (empty) answer.resume();
    return new Response(empty ? null : Readable.toWeb(answer), {
      status: answer.statusCode,
      headers: Object.entries(answer.headers).flatMap(([name, value]) =>
        [value].flat().map((one) => [name, one]),
      ),
    });
  }
}

// A connected client: { client, transport, wire, errors, close() }. `prepare(client)` sets its
// handlers before it connects; `errors` are those the SDK reported until close().
export async function connect(url, { capabilities = {}, prepare, timeout = 15000, wire } = {}) {
  wire ??= new Wire();
  const errors = [];
  let closing = false;
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: wire.fetch });
  const client = new Client({ name: 'system-tests', version: '1' }, { capabilities });
  client.onerror = (error) => closing || errors.push(String(error?.message ?? error));
  prepare?.(client);
  const close = async ({ end = true } = {}) => {
    closing = true;
    if (end && transport.sessionId !== undefined) await transport.terminateSession();
    await client.close();
  };
  try {
    await client.connect(transport, { timeout });
  } catch (error) {
    await close({ end: false });
    throw error;
  }
  return { client, transport, wire, errors, close };
}

// The text of a tool's answer; throws where the tool said that it failed.
export async function call(client, name, args = {}, options = {}) {
  const result = await client.callTool({ name, arguments: args }, undefined, options);
  const text = result.content.map((part) => part.text ?? '').join('\n');
  if (result.isError) throw new Error(`${name}: ${text}`);
  return text;
}

export function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
