// Everything here goes through the official client. Usage: node client.mjs BASE_URL MODEL; exits 1 on the first surprise.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What is the capital of France? Answer in one sentence." }];
const ask = { model, messages, max_tokens: 24, temperature: 0 };

const checks = {
  async models() {
    const page = await client.models.list();
    assert.deepEqual(page.data.map((m) => m.id), [model]);
  },
  async plainAndStreamedAgree() {
    const plain = await client.chat.completions.create(ask);
    let streamed = "";
    let usage = null;
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
      streamed += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.match(plain.choices[0].message.content, /Paris/);
    assert.equal(streamed, plain.choices[0].message.content);
    assert.equal(usage.total_tokens, plain.usage.total_tokens);
  },
  async streamHelper() {
    const done = await client.chat.completions.stream(ask).finalChatCompletion();
    assert.match(done.choices[0].message.content, /Paris/);
  },
  async jsonSchema() {
    const schema = { type: "object", properties: { city: { type: "string", maxLength: 30 } }, required: ["city"], additionalProperties: false };
    const reply = await client.chat.completions.create({
      ...ask, max_tokens: 80, response_format: { type: "json_schema", json_schema: { name: "answer", strict: true, schema } } });
    assert.deepEqual(Object.keys(JSON.parse(reply.choices[0].message.content)), ["city"]);
  },
  async toolCall() {
    const parameters = { type: "object", properties: { city: { type: "string", maxLength: 30 } }, required: ["city"], additionalProperties: false };
    const reply = await client.chat.completions.create({
      ...ask, max_tokens: 80, tools: [{ type: "function", function: { name: "look_up", parameters } }], tool_choice: "required", parallel_tool_calls: false });
    assert.equal(reply.choices[0].message.tool_calls[0].function.name, "look_up");
    JSON.parse(reply.choices[0].message.tool_calls[0].function.arguments);
  },
  async completion() {
    const reply = await client.completions.create({ model, prompt: "One, two, three,", max_tokens: 4, temperature: 0 });
    assert.match(reply.choices[0].text, /four/);
  },
  async errors() {
    await assert.rejects(client.chat.completions.create({ ...ask, model: "other" }), OpenAI.NotFoundError);
    await assert.rejects(client.chat.completions.create({ ...ask, messages: [] }), OpenAI.BadRequestError);
  },
};

for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
  } catch (error) {
    console.error(`${name}:`, error);
    process.exit(1);
  }
}
console.log(`${Object.keys(checks).length} checks`);
