// The server within containers of Node.js functions: Dispatch's runtime protocol over HTTP.
//
//     node serve.cjs            serves $HANDLER of the working directory on $PORT (or a Unix socket), with $SERVERS processes
//     node serve.cjs --check    loads the function once, and tells by its exit code whether that went well
//
// `GET /healthz` answers 200 where runs would be answered; `POST` of {"context": {}, "payload": any} on any path answers
// 200 with {"context": {"error": null | {}, "logs": {"stdout": [], "stderr": []}}, "payload": any}, failed or not. The
// deadline of a context is kept to: the process of a run that is late is killed, and another started.
//
// The functions run in processes of node_worker.cjs, one run at a time each; a run waits for one that is free. It is to
// Node.js what ../python3/serve.py is to Python.
'use strict'

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')

// A message to or from the function.
const MESSAGE_BYTES_MAX = 16 << 20
// What one run may print to each of stdout and stderr; what is over it is dropped, and a line tells so.
const OUTPUT_BYTES_MAX = 1 << 20
const LOAD_MILLISECONDS_MAX = 60_000
// The longest that a timer of Node.js takes.
const TIMER_MILLISECONDS_MAX = 2 ** 31 - 1

const FOLDER = process.cwd()
// The packages of the image (install.cjs); an archive may bring others along.
const MODULES = path.join(__dirname, 'packages', 'node_modules')
const TOO_LATE = 'Did not invoke, already exceeded timeout'
const TIMED_OUT = 'Function execution exceeded the timeout'

// A run that failed without an answer of the function; `kind` is who is to blame.
class RunError extends Error {
  constructor(kind, message) {
    super(message)
    this.kind = kind
  }

  get described() {
    return { type: this.kind, message: this.message, stacktrace: [] }
  }
}

// What comes out of one descriptor of a process: a file, emptied after each run. Node.js writes to files at once.
class Printed {
  constructor() {
    const name = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'printed-')), 'lines')
    this.descriptor = fs.openSync(name, 'a+')
    fs.rmSync(path.dirname(name), { recursive: true })
  }

  take() {
    const { size } = fs.fstatSync(this.descriptor)
    if (!size) return []
    const text = Buffer.alloc(Math.min(size, OUTPUT_BYTES_MAX))
    fs.readSync(this.descriptor, text, 0, text.length, 0)
    fs.ftruncateSync(this.descriptor)
    const lines = text.toString().split(/\r?\n/)
    if (!lines.at(-1)) lines.pop()
    if (size > text.length) lines.push(`[${size - text.length} more bytes were dropped]`)
    return lines
  }

  close() {
    fs.closeSync(this.descriptor)
  }
}

// One process with the function loaded, or about to be.
class Worker {
  constructor(handler) {
    this.printed = [new Printed(), new Printed()]
    const script = path.join(__dirname, 'node_worker.cjs')
    this.process = spawn(process.execPath, [script, '3', FOLDER, handler], {
      cwd: FOLDER,
      env: { ...process.env, NODE_PATH: MODULES },
      detached: true,
      stdio: ['ignore', ...this.printed.map((printed) => printed.descriptor), 'pipe'],
    })
    this.stream = this.process.stdio[3]
    this.pending = Buffer.alloc(0)
    this.waiter = null
    this.ended = new Promise((resolve) => this.process.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`)))
    this.stream.on('data', (part) => this.#read(part))
    this.stream.on('error', () => {}) // told by the end of the process
    this.stream.on('close', async () => {
      const how = await this.ended
      this.#settle(new RunError('SystemError', `the function's process ended: ${how}`))
    })
  }

  // Waits until it has loaded the function; throws where it does not.
  async loaded() {
    const { error } = await this.#receive(LOAD_MILLISECONDS_MAX)
    if (error) throw new RunError(error.type, [error.message, ...error.stacktrace].join('\n'))
    return this
  }

  // Sends a message and returns the answer. After an error the process is of no use, and to be killed.
  call(message, milliseconds) {
    const body = Buffer.from(JSON.stringify(message))
    const head = Buffer.allocUnsafe(4)
    head.writeUInt32BE(body.length)
    const answer = this.#receive(milliseconds)
    this.stream.write(Buffer.concat([head, body]))
    return answer
  }

  logs() {
    const [stdout, stderr] = this.printed.map((printed) => printed.take())
    return { stdout, stderr }
  }

  // Ends the process and all that it started.
  end() {
    try {
      process.kill(-this.process.pid, 'SIGKILL')
    } catch {} // it has ended
  }

  async kill() {
    this.end()
    await this.ended
    for (const printed of this.printed) printed.close()
  }

  #receive(milliseconds) {
    return new Promise((resolve, reject) => {
      const late = () => this.#settle(new RunError('FunctionError', TIMED_OUT))
      const timer = milliseconds === null ? null : setTimeout(late, Math.min(milliseconds, TIMER_MILLISECONDS_MAX))
      this.waiter = (answer) => {
        clearTimeout(timer)
        if (answer instanceof RunError) reject(answer)
        else resolve(answer)
      }
    })
  }

  #read(part) {
    this.pending = this.pending.length ? Buffer.concat([this.pending, part]) : part
    if (this.pending.length < 4) return
    const length = this.pending.readUInt32BE(0)
    if (length > MESSAGE_BYTES_MAX) {
      this.#settle(new RunError('FunctionError', `the output has ${length} bytes, more than ${MESSAGE_BYTES_MAX}`))
    } else if (this.pending.length >= 4 + length) {
      const answer = JSON.parse(this.pending.subarray(4, 4 + length).toString())
      this.pending = this.pending.subarray(4 + length)
      this.#settle(answer)
    }
  }

  #settle(answer) {
    const waiter = this.waiter
    this.waiter = null
    waiter?.(answer)
  }
}

// The processes of the function; a run takes one, and gives it back.
class Workers {
  constructor(handler) {
    this.handler = handler
    this.free = []
    this.waiting = []
    this.broken = false
  }

  async start(count) {
    for (let number = 0; number < count; number++) this.free.push(await this.#started())
  }

  // Runs a message; throws a RunError where it was not begun.
  async run(message) {
    let worker = this.free.length ? this.free.pop() : await new Promise((resolve) => this.waiting.push(resolve))
    try {
      worker ??= await this.#started()
      this.broken = false
      const milliseconds = millisecondsLeft(message)
      worker.logs() // what the function printed between two runs is of neither
      try {
        const answer = await worker.call(message, milliseconds)
        answer.context.logs = worker.logs()
        return answer
      } catch (error) {
        if (!(error instanceof RunError)) throw error
        const answer = failed(error, worker.logs())
        await worker.kill()
        worker = await this.#restarted()
        return answer
      }
    } finally {
      const next = this.waiting.shift()
      if (next) next(worker)
      else this.free.push(worker)
    }
  }

  async #started() {
    const worker = new Worker(this.handler)
    try {
      return await worker.loaded()
    } catch (error) {
      await worker.kill()
      throw error
    }
  }

  // Starts another process; null where that fails, and then the next run tries.
  async #restarted() {
    try {
      return await this.#started()
    } catch (error) {
      console.error(error.message)
      this.broken = true
      return null
    }
  }
}

// Tells how long a run may take by its context's deadline (RFC 3339); null where there is none.
function millisecondsLeft(message) {
  const { deadline } = message.context
  if (!deadline) return null
  const end = Date.parse(deadline)
  if (Number.isNaN(end)) throw new RunError('InputError', `Invalid Input: deadline ${deadline} is no time`)
  if (end <= Date.now()) throw new RunError('FunctionError', TOO_LATE)
  return end - Date.now()
}

// The answer to a run that failed without one of the function.
function failed(error, logs = { stdout: [], stderr: [] }) {
  return { context: { error: error.described, logs }, payload: null }
}

function messageOf(body) {
  let message
  try {
    message = JSON.parse(body)
  } catch (error) {
    throw new RunError('InputError', `Invalid Input: ${error.message}`)
  }
  const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isObject(message) || !isObject(message.context ?? {})) {
    throw new RunError('InputError', 'Invalid Input: must be {"context": {}, "payload": any}')
  }
  return { context: message.context ?? {}, payload: message.payload ?? null }
}

function send(response, status, document) {
  const body = Buffer.from(JSON.stringify(document))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length })
  response.end(body)
}

async function bodyOf(request) {
  const parts = []
  let length = 0
  for await (const part of request) {
    length += part.length
    if (length > MESSAGE_BYTES_MAX) return null
    parts.push(part)
  }
  return Buffer.concat(parts).toString()
}

async function answer(workers, request, response) {
  if (request.method === 'GET' && request.url === '/healthz') return send(response, workers.broken ? 500 : 200, {})
  if (request.method !== 'POST') return send(response, 404, {})
  const body = await bodyOf(request)
  if (body === null) {
    response.shouldKeepAlive = false
    return send(response, 413, {})
  }
  try {
    send(response, 200, await workers.run(messageOf(body)))
  } catch (error) {
    if (!(error instanceof RunError)) throw error
    send(response, 200, failed(error))
  }
}

// What comes between a request and its answer, as a caller that goes away while it asks, is no reason to end the others.
async function answerOrLeave(workers, request, response) {
  try {
    await answer(workers, request, response)
  } catch (error) {
    console.error(error.message)
    response.destroy()
  }
}

async function main() {
  const handler = process.env.HANDLER ?? ''
  const workers = new Workers(handler)
  try {
    await workers.start(process.argv.includes('--check') ? 1 : Number(process.env.SERVERS ?? 1))
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
  process.on('exit', () => {
    for (const worker of workers.free) worker?.end()
  })
  if (process.argv.includes('--check')) process.exit(0)
  process.on('SIGTERM', () => process.exit(0)) // runs that go on are not waited for
  http.createServer((request, response) => answerOrLeave(workers, request, response)).listen(process.env.PORT ?? 8080)
}

main()
