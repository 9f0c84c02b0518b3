// A minimal StatsD filter in Node.js, as one writes it in an afternoon: the peer that the published case replaced.
// Arguments: port to listen on, port to forward to, file with a JSON array of prefixes.
'use strict';
const dgram = require('dgram');
const prefixes = JSON.parse(require('fs').readFileSync(process.argv[4], 'utf8'));
const server = dgram.createSocket('udp4');
const client = dgram.createSocket('udp4');

function isWanted(line) {
  for (const prefix of prefixes) {
    if (line.startsWith(prefix)) return false;
  }
  return line.length > 0;
}

server.on('message', (message) => {
  const wanted = message.toString('latin1').split('\n').filter(isWanted);
  if (wanted.length > 0) client.send(Buffer.from(wanted.join('\n'), 'latin1'));
});
client.connect(Number(process.argv[3]), '127.0.0.1', () => server.bind(Number(process.argv[2]), '127.0.0.1'));
