// A program of Momento's JavaScript SDK that does what it is told: each line of
// its standard input is a command, each line of its standard output the answer
// to one or an event of a subscription. Bytes travel as base64.
//
//   node client.js PORT
import {createInterface} from 'node:readline';
import {
  MomentoLocalProvider,
  NoopMomentoLoggerFactory,
  TopicClient,
  TopicConfigurations,
  TopicPublish,
  TopicSubscribe,
} from '@gomomento/sdk';

const client = new TopicClient({
  credentialProvider: new MomentoLocalProvider({hostname: '127.0.0.1', port: Number(process.argv[2])}),
  // The SDK applies the timeout of Subscribe to the whole of the first stream,
  // and to Publish. A minute is more than anything here takes.
  configuration: TopicConfigurations.Default.latest(new NoopMomentoLoggerFactory()).withClientTimeoutMillis(60_000),
});
const subscriptions = new Map(); // by topic

const say = line => process.stdout.write(JSON.stringify(line) + '\n');

const content = value =>
  typeof value === 'string' ? {text: value} : {bytes: Buffer.from(value).toString('base64')};

async function publish({cache, topic, text, bytes}) {
  const response = await client.publish(cache, topic, bytes === undefined ? text : Buffer.from(bytes, 'base64'));
  if (response instanceof TopicPublish.Error) throw response;
}

async function subscribe({cache, topic}) {
  const response = await client.subscribe(cache, topic, {
    onItem: item => say({event: 'item', topic, ...content(item.value()), sequence: item.sequenceNumber()}),
    onDiscontinuity: d =>
      say({event: 'discontinuity', topic, last: d.lastSequenceNumber(), sequence: d.newSequenceNumber(), page: d.newSequencePage()}),
    onError: error => say({event: 'error', topic, code: error.errorCode()}),
    onConnectionLost: () => say({event: 'lost', topic}),
  });
  if (response instanceof TopicSubscribe.Error) throw response;
  subscriptions.set(topic, response);
}

async function unsubscribe({topic}) {
  subscriptions.get(topic).unsubscribe();
}

const commands = {publish, subscribe, unsubscribe};

// One after the other: the order of publishes is the order of commands.
for await (const line of createInterface({input: process.stdin})) {
  const command = JSON.parse(line);
  try {
    await commands[command.do](command);
    say({event: 'done'});
  } catch (error) {
    if (typeof error.errorCode !== 'function') throw error;
    say({event: 'failed', code: error.errorCode()});
  }
}
process.exit(0); // the SDK has no other way to let go of its connections
