// An ESME on node's `smpp`: reads one JSON document, binds, sends what it says, waits for its receipts, unbinds, writes another.
'use strict';
const fs = require('fs');
const smpp = require('smpp');

const order = JSON.parse(fs.readFileSync(0));
const result = {bound: null, requested: [], answers: [], delivered: [], enquired: null, unbound: null};
let unanswered = order.parts.length;
let leaving = false;

const options = {url: `${order.ca ? 'ssmpp' : 'smpp'}://127.0.0.1:${order.port}`};
if (order.ca) options.ca = fs.readFileSync(order.ca);
const session = smpp.connect(options, bind);
session.on('error', fail);
session.on('close', () => leaving || fail('closed by the other side'));
session.on('enquire_link', pdu => session.send(pdu.response()));
session.on('deliver_sm', pdu => {
  session.send(pdu.response());
  const {message, udh} = pdu.short_message;
  const elements = Buffer.concat(udh || []);
  result.delivered.push({
    esm_class: pdu.esm_class,
    source: pdu.source_addr,
    dest: pdu.destination_addr,
    coding: pdu.data_coding,
    text: Buffer.isBuffer(message) ? '' : message,
    octets: Buffer.isBuffer(message) ? message.toString('hex') : '',
    udh: elements.length ? Buffer.concat([Buffer.from([elements.length]), elements]).toString('hex') : '',
    id: pdu.receipted_message_id || '',
    state: pdu.message_state === undefined ? -1 : pdu.message_state,
  });
  settle();
});

function fail(error) {
  process.stderr.write(`${error.stack || error}\n`);
  process.exit(1);
}

function bind() {
  const who = {system_id: order.user, password: order.password, interface_version: order.version};
  session[`bind_${order.kind}`](who, pdu => {
    result.bound = pdu.command_status;
    result.version = pdu.sc_interface_version || 0;
    if (pdu.command_status) return finish();
    request(0, '');
  });
}

// One after the other; "$id" in a field is the message_id that the first of them was answered with.
function request(number, id) {
  const wanted = order.requests[number];
  if (!wanted) {
    order.parts.forEach(submit);
    return settle();
  }
  const fields = Object.fromEntries(Object.entries(wanted.fields).map(([name, value]) => [name, value === '$id' ? id : value]));
  session[wanted.command](fields, pdu => {
    result.requested.push({
      status: pdu.command_status, id: pdu.message_id || '', state: pdu.message_state === undefined ? -1 : pdu.message_state,
      refused: (pdu.unsuccess_sme || []).map(sme => [sme.destination_addr, sme.error_status_code]),
      parameters: ['sc_interface_version', 'congestion_state', 'additional_status_info_text'].filter(name => pdu[name] !== undefined),
    });
    request(number + 1, id || pdu.message_id);
  });
}

function submit(part) {
  const message = {message: part.octets ? Buffer.from(part.octets, 'hex') : part.text};
  if (part.udh) message.udh = Buffer.from(part.udh, 'hex');
  const fields = {
    source_addr_ton: 5, source_addr: order.sender, dest_addr_ton: 1, dest_addr_npi: 1, destination_addr: part.dest,
    data_coding: part.coding, registered_delivery: part.registered,
  };
  fields[part.payload ? 'message_payload' : 'short_message'] = message;
  if (part.sar) [fields.sar_msg_ref_num, fields.sar_total_segments, fields.sar_segment_seqnum] = part.sar;
  const at = result.answers.push(null) - 1;
  session.submit_sm(fields, pdu => {
    result.answers[at] = {status: pdu.command_status, id: pdu.message_id || ''};
    unanswered -= 1;
    settle();
  });
}

function settle() {
  const asking = result.requested.length < order.requests.length;
  if (leaving || asking || unanswered || result.delivered.length < order.receipts) return;
  leaving = true;
  session.enquire_link(pdu => {
    result.enquired = pdu.command_status;
    session.unbind(answer => {
      result.unbound = answer.command_status;
      finish();
    });
  });
}

function finish() {
  leaving = true;
  process.stdout.write(JSON.stringify(result));
  session.destroy();
}
