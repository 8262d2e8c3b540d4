// crypto.subtle (https://w3c.github.io/webcrypto/): signatures, ciphers, derivations, and the wrapping of keys. The host
// computes: it takes a hundredth of the time that the engine's own code took, which checked each private key of RSA for
// seconds. Digests are the engine's own.

import { algorithmOf, base64, bytesOf, compute, exportKey, generateKey, granted, hashOf, importKey } from "./crypto_keys.js";
import { kindOf, lengthOf, publicOf, refuse } from "./crypto_keys.js";

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);

const CIPHER_PARAMETERS = {
  "AES-CBC": ({ iv }) => ({ iv: base64(bytesOf(iv, "iv")) }),
  "AES-CTR": ({ counter, length }) => ({ counter: base64(bytesOf(counter, "counter")), length }),
  "AES-GCM": ({ iv, additionalData = NOTHING, tagLength = 128 }) => ({
    iv: base64(bytesOf(iv, "iv")),
    additionalData: base64(bytesOf(additionalData, "additionalData")),
    tagLength,
  }),
  "RSA-OAEP": ({ label = NOTHING }, { hash }) => ({ label: base64(bytesOf(label, "label")), hash: hash.name }),
};
const WRAPPING_PARAMETERS = { ...CIPHER_PARAMETERS, "AES-KW": () => ({}) };

function cipher(operation, asked, key, usage, data, parametersOf) {
  const { name } = asked;
  if (!Object.hasOwn(parametersOf, name)) refuse("NotSupportedError", `${usage}: not with ${name}`);
  const given = base64(granted(key, name, usage));
  return compute({ operation, name, key: given, ...parametersOf[name](asked, key.algorithm) }, data);
}

const SIGNATURE_PARAMETERS = {
  ECDSA: (asked, { namedCurve }) => ({ kind: namedCurve, hash: hashOf(asked) }),
  Ed25519: () => ({}),
  HMAC: (_asked, { hash }) => ({ hash: hash.name }),
  "RSA-PSS": ({ saltLength }, { hash }) => {
    if (saltLength === undefined) throw new TypeError("crypto.subtle: RSA-PSS needs a saltLength");
    return { hash: hash.name, saltLength };
  },
  "RSASSA-PKCS1-v1_5": (_asked, { hash }) => ({ hash: hash.name }),
};

function signing(operation, algorithm, key, data, more) {
  const asked = algorithmOf(algorithm);
  const { name } = asked;
  if (!Object.hasOwn(SIGNATURE_PARAMETERS, name)) refuse("NotSupportedError", `${operation}: not with ${name}`);
  const given = base64(granted(key, name, operation));
  const parameters = SIGNATURE_PARAMETERS[name](asked, key.algorithm);
  return compute({ operation, name, key: given, ...parameters, ...more }, data);
}

async function sign(algorithm, key, data) {
  return signing("sign", algorithm, key, bytesOf(data, "data"), {}).buffer;
}

async function verify(algorithm, key, signature, data) {
  const given = base64(bytesOf(signature, "signature"));
  return signing("verify", algorithm, key, bytesOf(data, "data"), { signature: given })[0] === 1;
}

// As Workers has it: how long it takes says nothing of where they differ.
function timingSafeEqual(a, b) {
  const [left, right] = [bytesOf(a, "a"), bytesOf(b, "b")];
  if (left.length !== right.length) throw new TypeError("crypto.subtle.timingSafeEqual: both must have the same length");
  let difference = 0;
  for (let i = 0; i < left.length; i++) difference |= left[i] ^ right[i];
  return difference === 0;
}

async function encrypt(algorithm, key, data) {
  const asked = algorithmOf(algorithm);
  return cipher("encrypt", asked, key, "encrypt", bytesOf(data, "data"), CIPHER_PARAMETERS).buffer;
}

async function decrypt(algorithm, key, data) {
  const asked = algorithmOf(algorithm);
  return cipher("decrypt", asked, key, "decrypt", bytesOf(data, "data"), CIPHER_PARAMETERS).buffer;
}

async function wrapKey(format, key, wrappingKey, wrapAlgorithm) {
  const asked = algorithmOf(wrapAlgorithm);
  const exported = await exportKey(format, key);
  const data = format === "jwk" ? encoder.encode(JSON.stringify(exported)) : new Uint8Array(exported);
  return cipher("encrypt", asked, wrappingKey, "wrapKey", data, WRAPPING_PARAMETERS).buffer;
}

async function unwrapKey(format, wrapped, unwrappingKey, unwrapAlgorithm, algorithm, extractable, usages) {
  const asked = algorithmOf(unwrapAlgorithm);
  const data = cipher("decrypt", asked, unwrappingKey, "unwrapKey", bytesOf(wrapped, "a key"), WRAPPING_PARAMETERS);
  const key = format === "jwk" ? jwkOf(data) : data;
  return importKey(format, key, algorithm, extractable, usages);
}

function jwkOf(data) {
  try {
    return JSON.parse(decoder.decode(data));
  } catch {
    refuse("DataError", "what was unwrapped is no JWK");
  }
}

function agreed(asked, key, data, length) {
  const ends = { private: base64(data), public: base64(publicOf(asked.public, key)) };
  const shared = compute({ operation: "agree", kind: kindOf(key.algorithm), ...ends });
  return length === null ? shared : firstBits(asked.name, shared, length);
}

const DERIVATIONS = {
  ECDH: agreed,
  X25519: agreed,
  HKDF: (asked, _key, raw, length) => {
    const info = base64(bytesOf(asked.info, "info"));
    return stretched("hkdf", asked, raw, length, { info });
  },
  PBKDF2: (asked, _key, raw, length) => {
    return stretched("pbkdf2", asked, raw, length, { iterations: asked.iterations });
  },
};

function stretched(operation, asked, raw, length, more) {
  if (length === null || length % 8) refuse("OperationError", `${asked.name}: length must be a number of bits, in eights`);
  const given = { hash: hashOf(asked), key: base64(raw), salt: base64(bytesOf(asked.salt, "salt")) };
  return length === 0 ? new Uint8Array(0) : compute({ operation, ...given, ...more, bytes: length / 8 });
}

function firstBits(name, bytes, length) {
  if (length > bytes.length * 8) refuse("OperationError", `${name}: the curve gives ${bytes.length * 8} bits, not ${length}`);
  const first = bytes.slice(0, Math.ceil(length / 8));
  if (length % 8) first[first.length - 1] &= 0xff00 >> (length % 8);
  return first;
}

function derived(asked, key, usage, length) {
  const { name } = asked;
  if (!Object.hasOwn(DERIVATIONS, name)) refuse("NotSupportedError", `${usage}: not with ${name}`);
  return DERIVATIONS[name](asked, key, granted(key, name, usage), length);
}

async function deriveBits(algorithm, key, length = null) {
  return derived(algorithmOf(algorithm), key, "deriveBits", length).buffer;
}

async function deriveKey(algorithm, key, derivedKeyType, extractable, usages) {
  const asked = algorithmOf(algorithm);
  const type = algorithmOf(derivedKeyType);
  const bits = derived(asked, key, "deriveKey", lengthOf(type));
  return importKey("raw", bits, type, extractable, usages);
}

export const SUBTLE = {
  sign,
  timingSafeEqual,
  verify,
  decrypt,
  deriveBits,
  deriveKey,
  encrypt,
  exportKey,
  generateKey,
  importKey,
  unwrapKey,
  wrapKey,
};
