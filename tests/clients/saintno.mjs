// @saintno/comfyui-sdk does a job: node saintno.mjs URL bearer|x-api-key|basic KEY PREFIX; prints the image's length and first bytes.
import { CallWrapper, ComfyApi, PromptBuilder } from "@saintno/comfyui-sdk";

const [url, form, key, prefix] = process.argv.slice(2);
const credentials = {
  bearer: { type: "bearer_token", token: key },
  "x-api-key": { type: "custom", headers: { "X-API-Key": key } },
  basic: { type: "basic", username: "guest", password: key },
}[form];

const workflow = {
  1: { class_type: "EmptyImage", inputs: { width: 32, height: 32, batch_size: 1, color: 255 } },
  2: { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: prefix } },
};

const api = new ComfyApi(url, `client-${prefix}`, { credentials });
// Without the socket the SDK falls back to polling in silence: that would prove nothing of the socket.
let socket = false;
api.on("connected", () => (socket = true));
await api.init().waitForReady();
const job = new PromptBuilder(workflow, [], ["images"]).setOutputNode("images", "2");
const done = await new Promise((resolve, reject) =>
  new CallWrapper(api, job).onFinished(resolve).onFailed(reject).run().then((result) => result === false && reject(new Error("not run"))),
);
const [image] = done.images.images;
const blob = await api.getImage(image);
const bytes = new Uint8Array(await blob.arrayBuffer());
console.log(JSON.stringify({ socket, length: bytes.length, magic: Buffer.from(bytes.slice(1, 4)).toString() }));
process.exit(0);
