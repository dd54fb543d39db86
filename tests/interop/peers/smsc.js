// An SMSC on node's `smpp`, on several ports; told what to do, and telling what it got, by HTTP. Its order is its argument:
//   {"http": port, "listen": [{"name", "port", "key", "cert", "tlvs"}]}
// GET /submitted/NUMBER   every submit_sm to it, as the library has read it
// POST /mo                {"name", "source", "dest", "parts": [{"text" | "octets", "coding", "udh"}]}; answers with the statuses
'use strict';
const fs = require('fs');
const http = require('http');
const smpp = require('smpp');

const order = JSON.parse(process.argv[2]);
const submitted = [];
const sessions = {};  // bound to receive, by name of the port
let last = 7000000000 + Date.now() % 1000000000;

for (const place of order.listen) {
  sessions[place.name] = new Set();
  const options = place.key ? {key: fs.readFileSync(place.key), cert: fs.readFileSync(place.cert)} : {};
  smpp.createServer(options, session => serve(place, session)).listen(place.port, '127.0.0.1');
}

function serve(place, session) {
  const bind = pdu => {
    session.send(pdu.response({system_id: place.name, sc_interface_version: 0x34}));
    if (pdu.command !== 'bind_transmitter') sessions[place.name].add(session);
  };
  for (const kind of ['transmitter', 'receiver', 'transceiver']) session.on(`bind_${kind}`, bind);
  session.on('enquire_link', pdu => session.send(pdu.response()));
  session.on('unbind', pdu => {
    sessions[place.name].delete(session);
    session.send(pdu.response());
    session.close();
  });
  session.on('submit_sm', pdu => {
    const id = String(++last);
    submitted.push({place: place.name, pdu});
    session.send(pdu.response({message_id: id}));
    if (pdu.registered_delivery & 1) setTimeout(() => receipt(place, session, pdu, id), 50);
  });
  session.on('error', () => session.destroy());
  session.on('close', () => sessions[place.name].delete(session));
}

function receipt(place, session, pdu, id) {
  const now = new Date().toISOString().replace(/\D/g, '').slice(2, 12);
  const text = `id:${id} sub:001 dlvrd:001 submit date:${now} done date:${now} stat:DELIVRD err:000 text:`;
  const fields = {
    esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT, source_addr: pdu.destination_addr, destination_addr: pdu.source_addr,
    short_message: text,
  };
  if (place.tlvs) [fields.receipted_message_id, fields.message_state] = [id, smpp.MESSAGE_STATE.DELIVERED];
  session.deliver_sm(fields);
}

function spoken(short) {
  const message = short.message;
  const octets = Buffer.isBuffer(message) ? message.toString('hex') : '';
  const elements = Buffer.concat(short.udh || []);
  return {
    text: octets || Buffer.isBuffer(message) ? '' : message, octets,
    udh: elements.length ? Buffer.concat([Buffer.from([elements.length]), elements]).toString('hex') : '',
  };
}

function told({place, pdu}) {
  const payload = pdu.message_payload !== undefined;
  return {
    place, source: pdu.source_addr, dest: pdu.destination_addr, esm_class: pdu.esm_class, registered: pdu.registered_delivery,
    coding: pdu.data_coding, payload, sar: pdu.sar_total_segments === undefined ? null
      : [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum],
    ...spoken(payload ? pdu.message_payload : pdu.short_message),
  };
}

function fromMobile({name, source, dest, parts}, done) {
  const session = [...sessions[name]][0];
  const statuses = [];
  for (const part of parts) {
    const message = {message: part.octets ? Buffer.from(part.octets, 'hex') : part.text};
    if (part.udh) message.udh = Buffer.from(part.udh, 'hex');
    const fields = {source_addr: source, destination_addr: dest, data_coding: part.coding, short_message: message};
    session.deliver_sm(fields, pdu => {
      statuses.push(pdu.command_status);
      if (statuses.length === parts.length) done(statuses);
    });
  }
}

http.createServer((request, response) => {
  const answer = found => response.end(JSON.stringify(found));
  if (request.method === 'GET') {
    const number = request.url.split('/').pop();
    return answer(submitted.filter(({pdu}) => pdu.destination_addr === number).map(told));
  }
  let body = '';
  request.on('data', chunk => body += chunk);
  request.on('end', () => fromMobile(JSON.parse(body), answer));
}).listen(order.http, '127.0.0.1');
