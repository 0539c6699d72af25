// Calls of Vercel's `ai` with both of its providers, on the server at IMAGEN_URL.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateImage } from "ai";

const settings = { name: "imagen", baseURL: `${process.env.IMAGEN_URL}/v1`, apiKey: "any" };
for (const provider of [createOpenAI(settings), createOpenAICompatible(settings)]) {
  const [model, broken] = ["gpt-image-1", "broken"].map((id) => provider.imageModel(id));
  const size = "64x48";
  const providerOptions = { openai: { quality: "low" }, imagen: { steps: 2 } };
  const made = await generateImage({ model, prompt: "a fox", n: 2, size, providerOptions });
  assert.equal(made.images.length, 2);
  assert.equal(made.images[0].mediaType, "image/png");
  const prompt = { text: "sea", images: [made.images[0].uint8Array] };
  assert.equal((await generateImage({ model, prompt, size })).images.length, 1);
  // A repeated call would end in a RetryError.
  await assert.rejects(generateImage({ model: broken, prompt: "a fox", size }), { statusCode: 424 });
}
