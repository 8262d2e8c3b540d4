// Runs one Node function, in a process of its own: the other side of process.py, as python_worker.py is.
//
//     node node_worker.cjs SOCKET_FD FOLDER HANDLER
//
// A message on the socket is 4 bytes of length, big-endian, and as many of JSON. The worker sends one when the function
// is loaded, {"error": null}, or {"error": {type, message, stacktrace}} and ends. Then it answers each
// {"context": {}, "payload": any} with {"context": {"error": null | {}}, "payload": any}.
'use strict'

const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')

const [descriptor, folder, handler] = process.argv.slice(2)
const socket = new net.Socket({ fd: Number(descriptor), readable: true, writable: true })

function send(message) {
  const body = Buffer.from(JSON.stringify(message))
  const head = Buffer.allocUnsafe(4)
  head.writeUInt32BE(body.length)
  socket.write(Buffer.concat([head, body]))
}

function described(error, type) {
  const isError = error instanceof Error
  const lines = isError && typeof error.stack === 'string' ? error.stack.split('\n') : []
  const own = lines.findIndex((line) => line.includes(__filename))
  return {
    type,
    message: String(isError ? error.message : error),
    stacktrace: own < 0 ? lines : lines.slice(0, own),
  }
}

function fileOf(name) {
  if (name) return path.resolve(folder, name)
  const files = fs.readdirSync(folder).filter((file) => file.endsWith('.js'))
  if (files.length !== 1) {
    throw new Error(`Exactly 1 source file needed when HANDLER is empty, and there are ${files.length}`)
  }
  return path.join(folder, files[0])
}

function load() {
  const loaded = require(fileOf(handler))
  const run = loaded && loaded.default ? loaded.default : loaded
  if (typeof run !== 'function') {
    throw new Error('Invalid function file or handler: module.exports must be a function (context, payload)')
  }
  return run
}

async function answer(run, message) {
  let output
  try {
    output = await run(message.context, message.payload)
  } catch (error) {
    return { context: { error: described(error, error instanceof TypeError ? 'InputError' : 'FunctionError') }, payload: null }
  }
  try {
    JSON.stringify(output)
    return { context: { error: null }, payload: output === undefined ? null : output }
  } catch (error) {
    const problem = { type: 'FunctionError', message: `output is no JSON: ${error.message}`, stacktrace: [] }
    return { context: { error: problem }, payload: null }
  }
}

let run
try {
  run = load()
} catch (error) {
  send({ error: described(error, 'FunctionError') })
  socket.end()
}

if (run) {
  let pending = Buffer.alloc(0)
  let turn = Promise.resolve()
  socket.on('data', (part) => {
    pending = pending.length ? Buffer.concat([pending, part]) : part
    while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE(0)) {
      const length = pending.readUInt32BE(0)
      const message = JSON.parse(pending.subarray(4, 4 + length).toString())
      pending = pending.subarray(4 + length)
      turn = turn.then(async () => send(await answer(run, message)))
    }
  })
  socket.on('end', () => process.exit(0))
  send({ error: null })
}
