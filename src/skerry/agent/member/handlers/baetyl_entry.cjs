// Calls the functions of a service of Baetyl by their names: what a function process of Node.js loads on a node.
//
// Beside it lies functions.json: {"code": FOLDER, "functions": [{name, handler, codedir}]}. A handler is `file.function`,
// the file in `codedir` of the folder of the code; it gets an event, a context and a callback(error, output), and may
// return a promise instead of calling that. It is to Node.js what baetyl_entry.py is to Python.
'use strict'

const path = require('node:path')

const told = require('./functions.json')

function load({ name, handler, codedir }) {
  const dot = handler.lastIndexOf('.')
  const run = require(path.join(told.code, codedir, handler.slice(0, dot)))[handler.slice(dot + 1)]
  if (typeof run !== 'function') throw new Error(`${handler} is no function`)
  return [name, run]
}

const functions = new Map(told.functions.map(load))

function called(run, event, context) {
  return new Promise((resolve, reject) => {
    const returned = run(event, context, (error, output) => (error ? reject(error) : resolve(output)))
    if (run.length < 3 || typeof returned?.then === 'function') resolve(returned)
  })
}

module.exports = async function handle(context, payload) {
  const bytes = 'bytes' in payload ? Buffer.from(payload.bytes, 'base64') : null
  const event = bytes === null ? payload.json : bytes.length ? bytes : ''
  const output = await called(functions.get(context.functionName), event, context)
  if (output === undefined || output === null || output === '') return {}
  return Buffer.isBuffer(output) ? { bytes: output.toString('base64') } : { json: output }
}
