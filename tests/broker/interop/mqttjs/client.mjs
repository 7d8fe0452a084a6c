// MQTT.js, driven line by line: a request as JSON on standard input, its answer on standard output.
// Messages that come are lines of their own: {"message": {...}}.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import mqtt from "mqtt";

let client;
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const requests = {
  connect: async ({ url, ca, version, clientId, username, password, clean, will }) => {
    const five = version === 5;
    const options = {
      protocolVersion: version,
      clientId,
      username,
      password,
      clean,
      reconnectPeriod: 0,
      ca: ca ? readFileSync(ca) : undefined,
      properties: five ? { sessionExpiryInterval: 600 } : undefined,
      will: will ? { ...will, payload: Buffer.from(will.payload) } : undefined,
    };
    client = mqtt.connect(url, options);
    client.on("message", (topic, payload, packet) =>
      say({
        message: {
          topic,
          payload: payload.toString(),
          qos: packet.qos,
          retain: packet.retain,
          properties: packet.properties ?? null,
        },
      }),
    );
    return await new Promise((resolve, reject) => {
      client.once("connect", (packet) => resolve({ present: packet.sessionPresent }));
      client.once("error", (error) => reject(error));
    });
  },
  subscribe: async ({ topic, qos }) => {
    const granted = await client.subscribeAsync(topic, { qos });
    return { granted: granted.map((each) => each.qos) };
  },
  publish: async ({ topic, payload, qos, retain, properties }) => {
    await client.publishAsync(topic, payload, { qos, retain, properties });
    return {};
  },
  disconnect: async () => {
    await client.endAsync();
    return {};
  },
  vanish: async () => {
    client.stream.destroy();
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { request, ...more } = JSON.parse(line);
  try {
    say({ answer: await requests[request](more) });
  } catch (error) {
    say({ error: `${error.code ?? ""} ${error.message}` });
  }
}
process.exit(0);
