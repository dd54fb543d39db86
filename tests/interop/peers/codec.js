// node's `smpp` as codec: a line of JSON in, a line out. Octets are written as "hex:...".
//   {"encode": command, "sequence": n, "fields": {...}}  ->  {"hex": "..."}
//   {"decode": "..."}  ->  {"command", "status", "sequence", "fields": {...}, "again": "..."}, again: what it encodes of that
'use strict';
const readline = require('readline');
const smpp = require('smpp');

const HEADER = ['command', 'command_length', 'command_id', 'command_status', 'sequence_number'];

function mapped(value, change) {
  const found = change(value);
  if (found !== undefined) return found;
  if (Array.isArray(value)) return value.map(item => mapped(item, change));
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, mapped(item, change)]));
  }
  return value;
}

const inward = value => typeof value === 'string' && value.startsWith('hex:') ? Buffer.from(value.slice(4), 'hex') : undefined;

function outward(value) {
  if (Buffer.isBuffer(value)) return `hex:${value.toString('hex')}`;
  if (value instanceof Date) return value.getTime() / 1000;
}

const encoded = (command, sequence, fields) =>
  new smpp.PDU(command, {...fields, sequence_number: sequence}).toBuffer().toString('hex');

function answer(order) {
  if (order.encode) return {hex: encoded(order.encode, order.sequence, mapped(order.fields, inward))};
  const pdu = smpp.PDU.fromBuffer(Buffer.from(order.decode, 'hex'));
  const fields = Object.fromEntries(Object.entries(pdu).filter(([name, value]) => !HEADER.includes(name) && typeof value !== 'function'));
  const told = mapped(fields, outward);
  return {
    command: pdu.command, status: pdu.command_status, sequence: pdu.sequence_number, fields: told,
    again: encoded(pdu.command, pdu.sequence_number, fields),
  };
}

readline.createInterface({input: process.stdin}).on('line', line => {
  let found;
  try {
    found = answer(JSON.parse(line));
  } catch (error) {
    found = {error: String(error.stack)};
  }
  process.stdout.write(JSON.stringify(found) + '\n');
});
