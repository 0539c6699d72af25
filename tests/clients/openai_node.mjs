// Every call of OpenAI's client for JavaScript, on the server at IMAGEN_URL.
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const baseURL = `${process.env.IMAGEN_URL}/v1`;
const client = new OpenAI({ baseURL, apiKey: "any" });
const call = { prompt: "a fox", size: "64x48" };

const made = await client.images.generate({ ...call, model: "gpt-image-1", n: 2, seed: 5 });
assert.equal(made.data.length, 2);
assert.equal(made.size, "64x48");
assert.equal(made.usage.total_tokens, 0);
const png = Buffer.from(made.data[0].b64_json, "base64");
const mask = Buffer.from(process.env.IMAGEN_MASK, "base64");

const named = await client.images.generate({ ...call, response_format: "url" });
const fetched = await fetch(named.data[0].url);
assert.equal(fetched.headers.get("content-type"), "image/png");

async function typesOf(stream) {
  const types = [];
  for await (const event of stream) types.push(event.type);
  return types;
}
const file = (data) => toFile(data, "image.png", { type: "image/png" });
assert.deepEqual(
  await typesOf(await client.images.generate({ ...call, n: 2, stream: true, partial_images: 1 })),
  ["image_generation.completed", "image_generation.completed"],
);
assert.deepEqual(
  await typesOf(await client.images.edit({ ...call, image: await file(png), stream: true })),
  ["image_edit.completed"],
);

const images = [await file(png), await file(png)];
const mixed = await client.images.edit({ ...call, image: images, input_fidelity: "high" });
assert.equal(mixed.data.length, 1);
const repainted = { ...call, image: await file(png), mask: await file(mask) };
assert.equal((await client.images.edit(repainted)).data.length, 1);

const ids = (await client.models.list()).data.map((model) => model.id);
assert.ok(ids.includes("gpt-image-1") && ids.includes("other"));
assert.equal((await client.models.retrieve("other/mock-dusk")).owned_by, "other");

const unknown = { ...call, model: "nope" };
await assert.rejects(client.images.generate(unknown), { status: 404, code: "model_not_found" });
const broken = { ...call, model: "broken" };
await assert.rejects(client.images.generate(broken), { status: 424, code: "failed" });
await assert.rejects(async () => typesOf(await client.images.generate({ ...broken, stream: true })), {
  message: /as configured/,
});

// It gives up after 0.7 s and calls again, for the same job of 2.4 s.
const hasty = new OpenAI({ baseURL, apiKey: "any", timeout: 700, maxRetries: 8 });
const slow = { ...call, prompt: "a slow fox", model: "slow", steps: 6 };
assert.equal((await hasty.images.generate(slow)).data.length, 1);
