// Makes a core module stoppable by its host, without the host's help while it runs: at the head of each loop it looks at
// one word of its memory, and traps where that is not 0. In another word it keeps how large its memory is, for a host that
// may not ask Wasmtime while the module runs.
//
// Whatever runs without end in the engine runs in a loop, since the stack bounds what recurs. The words are the lowest of
// the stack, which grows down towards them and is checked by SpiderMonkey long before.
//
// Source of the encoding: https://webassembly.github.io/spec/core/binary/

const STOP_WORD_AT = 16; // interruption.STOP_WORD_AT
const PAGES_WORD_AT = 20; // interruption.PAGES_WORD_AT

const HEADER_BYTES = 8;
const CODE_SECTION = 10;
const LOOP = 0x03;
const MEMORY_GROW = 0x40;

// i32.const 0; i32.atomic.load (else an earlier look may stand for this one); if; unreachable; end
const STOP_CHECK = Buffer.from([0x41, 0, 0xfe, 0x10, 2, STOP_WORD_AT, 0x04, 0x40, 0x00, 0x0b]);
// i32.const 0; memory.size; i32.store
const NOTE_PAGES = Buffer.from([0x41, 0, 0x3f, 0, 0x36, 2, PAGES_WORD_AT]);

export class Reader {
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  byte() {
    return this.bytes[this.at++];
  }

  number() {
    let number = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      number += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return number;
    }
  }

  take(length) {
    return this.bytes.subarray(this.at, (this.at += length));
  }

  // Moves behind `count` numbers of any sign and size.
  skipNumbers(count) {
    for (; count > 0; count--) while (this.byte() >= 0x80);
  }

  get isAtEnd() {
    return this.at >= this.bytes.length;
  }
}

function numberBytes(number) {
  const bytes = [];
  for (; number >= 0x80; number >>>= 7) bytes.push((number & 0x7f) | 0x80);
  return Buffer.from([...bytes, number]);
}

// Moves behind what follows an opcode. What is not known here must not be passed over: its length would be a guess; and a
// tail call (0x12, 0x13) could run without end.
function skipImmediates(reader, opcode) {
  if (opcode <= 0x01 || [0x05, 0x0b, 0x0f, 0x1a, 0x1b, 0xd1].includes(opcode)) return;
  if (opcode >= 0x45 && opcode <= 0xc4) return;
  if (opcode >= 0x28 && opcode <= 0x3e) return reader.skipNumbers(2); // how aligned, and where
  switch (opcode) {
    case 0x02: case LOOP: case 0x04: // block types
    case 0x0c: case 0x0d: case 0x10: // labels, a function
    case 0x20: case 0x21: case 0x22: case 0x23: case 0x24: case 0x25: case 0x26: // variables, tables
    case 0x3f: case MEMORY_GROW: case 0x41: case 0x42: // memories, constants
    case 0xd0: case 0xd2:
      return reader.skipNumbers(1);
    case 0x0e:
      return reader.skipNumbers(reader.number() + 1);
    case 0x11:
      return reader.skipNumbers(2);
    case 0x1c:
      return reader.skipNumbers(reader.number());
    case 0x43:
      return void reader.take(4);
    case 0x44:
      return void reader.take(8);
    case 0xfc:
      return skipOfBulk(reader, reader.number());
    default:
      throw new Error(`the engine has an instruction that is not known here: 0x${opcode.toString(16)}`);
  }
}

// Saturating conversions; then operations on memories and tables, of which some name two things.
function skipOfBulk(reader, operation) {
  if (operation > 17) throw new Error(`the engine has an instruction that is not known here: 0xfc ${operation}`);
  if (operation > 7) reader.skipNumbers([8, 10, 12, 14].includes(operation) ? 2 : 1);
}

function bodyWithChecks(body) {
  const reader = new Reader(body);
  for (let groups = reader.number(); groups > 0; groups--) reader.skipNumbers(2); // locals: how many, of which type
  const pieces = [];
  let copied = 0;
  while (!reader.isAtEnd) {
    const opcode = reader.byte();
    skipImmediates(reader, opcode);
    if (opcode === LOOP || opcode === MEMORY_GROW) {
      pieces.push(body.subarray(copied, reader.at), opcode === LOOP ? STOP_CHECK : NOTE_PAGES);
      copied = reader.at;
    }
  }
  return Buffer.concat([...pieces, body.subarray(copied)]);
}

function changedCode(section, change) {
  const reader = new Reader(section);
  const count = reader.number();
  const pieces = [numberBytes(count)];
  for (let i = 0; i < count; i++) {
    const body = change(reader.take(reader.number()));
    pieces.push(numberBytes(body.length), body);
  }
  return Buffer.concat(pieces);
}

// Returns the module with a check in each loop, and a note of each growth.
export function withStopChecks(module) {
  return withBodies(module, bodyWithChecks);
}

// Returns the module with the body of each function as `change` gives it.
export function withBodies(module, change) {
  const reader = new Reader(module, HEADER_BYTES);
  const pieces = [module.subarray(0, HEADER_BYTES)];
  while (!reader.isAtEnd) {
    const from = reader.at;
    const id = reader.byte();
    const content = reader.take(reader.number());
    if (id === CODE_SECTION) {
      const code = changedCode(content, change);
      pieces.push(Buffer.from([id]), numberBytes(code.length), code);
    } else {
      pieces.push(module.subarray(from, reader.at));
    }
  }
  return Buffer.concat(pieces);
}
