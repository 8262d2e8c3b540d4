// What crypto.subtle of the engine lacks (https://w3c.github.io/webcrypto/): ciphers, derivations, and the wrapping of
// keys. The host computes. Digests and signatures are the engine's own.

import { algorithmOf, base64, bytesOf, compute, exportKey, generateKey, granted, hashOf, importKey } from "./crypto_keys.js";
import { lengthOf, publicOf, refuse } from "./crypto_keys.js";

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
};
const WRAPPING_PARAMETERS = { ...CIPHER_PARAMETERS, "AES-KW": () => ({}) };

function cipher(operation, asked, key, usage, data, parametersOf) {
  const { name } = asked;
  if (!Object.hasOwn(parametersOf, name)) refuse("NotSupportedError", `${usage}: not with ${name}`);
  const { raw } = granted(key, name, usage);
  return compute({ operation, name, key: base64(raw), ...parametersOf[name](asked) }, data);
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
  return importKey.call(crypto.subtle, format, key, algorithm, extractable, usages);
}

function jwkOf(data) {
  try {
    return JSON.parse(decoder.decode(data));
  } catch {
    refuse("DataError", "what was unwrapped is no JWK");
  }
}

const DERIVATIONS = {
  ECDH: (asked, key, { jwk }, length) => {
    const ends = { private: base64(jwk), public: base64(publicOf(asked.public, key)) };
    const shared = compute({ operation: "agreeOnCurve", curve: key.algorithm.namedCurve, ...ends });
    return length === null ? shared : firstBits(shared, length);
  },
  HKDF: (asked, _key, { raw }, length) => {
    const info = base64(bytesOf(asked.info, "info"));
    return stretched("hkdf", asked, raw, length, { info });
  },
  PBKDF2: (asked, _key, { raw }, length) => {
    return stretched("pbkdf2", asked, raw, length, { iterations: asked.iterations });
  },
};

function stretched(operation, asked, raw, length, more) {
  if (length === null || length % 8) refuse("OperationError", `${asked.name}: length must be a number of bits, in eights`);
  const given = { hash: hashOf(asked), key: base64(raw), salt: base64(bytesOf(asked.salt, "salt")) };
  return length === 0 ? new Uint8Array(0) : compute({ operation, ...given, ...more, bytes: length / 8 });
}

function firstBits(bytes, length) {
  if (length > bytes.length * 8) refuse("OperationError", `ECDH: the curve gives ${bytes.length * 8} bits, not ${length}`);
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
  return importKey.call(crypto.subtle, "raw", bits, type, extractable, usages);
}

export const SUBTLE = {
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
