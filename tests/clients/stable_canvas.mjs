// @stable-canvas/comfyui-client does a job with its ?token= plugin: node stable_canvas.mjs URL KEY PREFIX; prints as saintno.mjs.
import { Client, plugins } from "@stable-canvas/comfyui-client";
import WebSocket from "ws";

const [url, key, prefix] = process.argv.slice(2);
const { host, protocol } = new URL(url);
const client = new Client({ api_host: host, ssl: protocol === "https:", WebSocket, fetch, clientId: `client-${prefix}` });
client.use(new plugins.LoginAuthPlugin({ token: key }));
// A job that ends before the socket is open would never be heard of.
const socket = await new Promise((resolve) => {
  client.events.on("connected", () => resolve(true));
  client.connect();
});

const workflow = {
  1: { class_type: "EmptyImage", inputs: { width: 32, height: 32, batch_size: 1, color: 255 } },
  2: { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: prefix } },
};
const result = await client.enqueue(workflow);
const [image] = result.images;
// The plugin adds the token to calls by the client, not to the bare address that it hands out.
const { pathname, search } = new URL(image.data);
const bytes = new Uint8Array(await (await client.fetchApi(pathname + search)).arrayBuffer());
console.log(JSON.stringify({ socket, length: bytes.length, magic: Buffer.from(bytes.slice(1, 4)).toString() }));
process.exit(0);
