// Keys of crypto.subtle (https://w3c.github.io/webcrypto/): made, imported and exported. The host reads them and writes
// them in their several forms; here they are kept as bytes, or as JWK where they are halves of pairs.

import { computeCrypto } from "host";

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);
const CIPHER_USES = ["encrypt", "decrypt", "wrapKey", "unwrapKey"];
const DERIVATION_USES = ["deriveKey", "deriveBits"];
const AGREEMENT_USES = { private: DERIVATION_USES, public: [] };
const SIGNATURE_USES = { private: ["sign"], public: ["verify"] };
const SECRET_USES = {
  "AES-CBC": CIPHER_USES,
  "AES-CTR": CIPHER_USES,
  "AES-GCM": CIPHER_USES,
  "AES-KW": ["wrapKey", "unwrapKey"],
  HKDF: DERIVATION_USES,
  HMAC: ["sign", "verify"],
  PBKDF2: DERIVATION_USES,
};
const PAIR_USES = {
  ECDH: AGREEMENT_USES,
  ECDSA: SIGNATURE_USES,
  Ed25519: SIGNATURE_USES,
  "RSA-OAEP": { private: ["decrypt", "unwrapKey"], public: ["encrypt", "wrapKey"] },
  "RSA-PSS": SIGNATURE_USES,
  "RSASSA-PKCS1-v1_5": SIGNATURE_USES,
  X25519: AGREEMENT_USES,
};
const NAMES = [...Object.keys(SECRET_USES), ...Object.keys(PAIR_USES)];
const JWK_ALG_OF_CURVE = { "P-256": "ES256", "P-384": "ES384", "P-521": "ES512" };
const HASH_BLOCK_BITS = { "SHA-1": 512, "SHA-256": 512, "SHA-384": 1024, "SHA-512": 1024 };
const FORMS = { jwk: null, pkcs8: "private", raw: "public", spki: "public" }; // and the type of key that has it alone
const JWK_MEMBERS = ["kty", "crv", "x", "y", "n", "e", "d", "p", "q", "dp", "dq", "qi"];
const RSA_EXPONENT = [1, 0, 1]; // 65537, which everyone takes
const BASE64URL = { alphabet: "base64url", omitPadding: true };

// Of each key: { data, usages }; the bytes of a secret, or half of a pair as JWK. Neither changes.
const materials = new WeakMap();

export function refuse(name, message) {
  throw new DOMException(message, name);
}

// Has the host carry out one operation.
export function compute(head, data = NOTHING) {
  const told = computeCrypto(JSON.stringify(head), data);
  if (!told.failed) return told.data;
  const end = told.text.indexOf(": ");
  refuse(told.text.slice(0, end), told.text.slice(end + 2));
}

export function base64(bytes) {
  return bytes.toBase64();
}

// A copy of what an ArrayBuffer or a view has.
export function bytesOf(source, what) {
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice();
  if (source instanceof ArrayBuffer) return new Uint8Array(source).slice();
  throw new TypeError(`crypto.subtle: ${what} must be an ArrayBuffer or a view of one`);
}

// Names are the same in any case.
export function algorithmOf(given) {
  const members = typeof given === "string" ? { name: given } : given;
  if (members === null || typeof members !== "object" || members.name === undefined) {
    throw new TypeError("crypto.subtle: an algorithm is a name, or an object that has one");
  }
  return { ...members, name: spelled(NAMES, `${members.name}`) };
}

function spelled(names, given) {
  return names.find((name) => name.toUpperCase() === given.toUpperCase()) ?? given;
}

export function hashOf({ hash }) {
  if (hash === undefined) throw new TypeError("crypto.subtle: the algorithm needs a hash");
  const name = spelled(Object.keys(HASH_BLOCK_BITS), `${hash?.name ?? hash}`);
  if (!Object.hasOwn(HASH_BLOCK_BITS, name)) refuse("NotSupportedError", `no such hash: ${name}`);
  return name;
}

// How many bits a secret key of an algorithm has; null where it may have any number.
export function lengthOf(algorithm) {
  const { name, length } = algorithm;
  if (name === "HMAC") return hmacLength(algorithm);
  if (name === "HKDF" || name === "PBKDF2") return null;
  if (!name.startsWith("AES-")) refuse("NotSupportedError", `no key of ${name} is made so`);
  if (![128, 192, 256].includes(length)) refuse("OperationError", `${name}: length must be 128, 192 or 256, not ${length}`);
  return length;
}

function hmacLength(algorithm) {
  const length = algorithm.length ?? HASH_BLOCK_BITS[hashOf(algorithm)];
  if (!(length > 0) || length % 8) refuse("OperationError", "HMAC: length must be a number of bits, in eights");
  return length;
}

function checkUsages(name, allowed, usages, mayBeEmpty) {
  const other = usages.find((usage) => !allowed.includes(usage));
  if (other !== undefined) refuse("SyntaxError", `a key of ${name} is not for ${other}`);
  if (usages.length === 0 && !mayBeEmpty) refuse("SyntaxError", `a key of ${name} needs usages`);
}

function newKey(type, extractable, algorithm, usages, data) {
  const key = Object.create(CryptoKey.prototype);
  const members = { type, extractable: Boolean(extractable), algorithm, usages: [...new Set(usages)] };
  for (const [name, value] of Object.entries(members)) Object.defineProperty(key, name, { value, enumerable: true });
  materials.set(key, { data, usages: new Set(usages) });
  return key;
}

// What a key of ours is made of, if it may be used so.
export function granted(key, name, usage) {
  if (!(key instanceof CryptoKey)) throw new TypeError("crypto.subtle: the key must be a CryptoKey");
  if (key.algorithm.name !== name) refuse("InvalidAccessError", `a key of ${key.algorithm.name} is not for ${name}`);
  const material = materials.get(key);
  if (!material?.usages?.has(usage)) refuse("InvalidAccessError", `the key's usages have no ${usage}`);
  return material.data;
}

// The public key of another's, for an agreement with a key.
export function publicOf(theirs, key) {
  if (!(theirs instanceof CryptoKey)) throw new TypeError("crypto.subtle: public must be a CryptoKey");
  const { name } = key.algorithm;
  if (theirs.type !== "public" || theirs.algorithm.name !== name || kindOf(theirs.algorithm) !== kindOf(key.algorithm)) {
    refuse("InvalidAccessError", `public must be a public key of ${name} on ${kindOf(key.algorithm)}`);
  }
  return materials.get(theirs).data;
}

// What the host calls keys like those of an algorithm.
export function kindOf({ name, namedCurve }) {
  if (name.startsWith("RSA")) return "RSA";
  return name.startsWith("EC") ? `${namedCurve}` : name;
}

export async function importKey(format, keyData, algorithm, extractable, usages) {
  const asked = algorithmOf(algorithm);
  const uses = [...usages];
  if (!Object.hasOwn(FORMS, format)) throw new TypeError(`crypto.subtle: no such form of keys: ${format}`);
  if (Object.hasOwn(SECRET_USES, asked.name)) return importSecret(format, keyData, asked, extractable, uses);
  if (Object.hasOwn(PAIR_USES, asked.name)) return importHalf(format, keyData, asked, extractable, uses);
  refuse("NotSupportedError", `importKey: not for ${asked.name}`);
}

function importSecret(format, keyData, asked, extractable, usages) {
  const { name } = asked;
  checkUsages(name, SECRET_USES[name], usages, false);
  const isDerivation = SECRET_USES[name] === DERIVATION_USES;
  if (format !== "raw" && (format !== "jwk" || isDerivation)) refuse("NotSupportedError", `${name}: no keys as ${format}`);
  if (isDerivation && extractable) refuse("SyntaxError", `a key of ${name} cannot be extractable`);
  const raw = format === "raw" ? bytesOf(keyData, "a raw key") : secretOf(keyData, extractable, usages);
  const algorithm = isDerivation ? { name } : secretAlgorithm(asked, raw.length * 8);
  if (format === "jwk") checkAlg(keyData, jwkName(algorithm));
  return newKey("secret", extractable, algorithm, usages, raw);
}

function secretAlgorithm(asked, length) {
  const { name } = asked;
  if (name !== "HMAC") {
    if (![128, 192, 256].includes(length)) refuse("DataError", `${name}: a key has 128, 192 or 256 bits, not ${length}`);
    return { name, length };
  }
  const hash = { name: hashOf(asked) };
  if (length === 0) refuse("DataError", "HMAC: a key has at least one byte");
  if ((asked.length ?? length) !== length) refuse("DataError", `HMAC: the key has ${length} bits, not ${asked.length}`);
  return { name, hash, length };
}

function secretOf(jwk, extractable, usages) {
  checkJwk(jwk, extractable, usages);
  if (jwk.kty !== "oct" || typeof jwk.k !== "string") refuse("DataError", "the JWK has not kty oct and k");
  try {
    return Uint8Array.fromBase64(jwk.k, { alphabet: "base64url" });
  } catch {
    refuse("DataError", "the JWK's k is not base64url");
  }
}

function checkJwk(jwk, extractable, usages) {
  if (jwk === null || typeof jwk !== "object") throw new TypeError("crypto.subtle: a JWK is an object");
  if (jwk.ext === false && extractable) refuse("DataError", "the JWK is not extractable (ext)");
  if (Array.isArray(jwk.key_ops) && usages.some((usage) => !jwk.key_ops.includes(usage))) {
    refuse("DataError", "the JWK's key_ops do not have all usages");
  }
}

function importHalf(format, keyData, asked, extractable, usages) {
  const { name } = asked;
  const isRsa = kindOf(asked) === "RSA";
  if (format === "jwk") checkJwk(keyData, extractable, usages);
  if (isRsa) hashOf(asked);
  if (isRsa && format === "raw") refuse("NotSupportedError", `${name}: no keys as raw`);
  const jwk = convert(kindOf(asked), format, format === "jwk" ? encodedJwk(keyData) : bytesOf(keyData, "a key"), "jwk");
  const members = JSON.parse(decoder.decode(jwk));
  const type = members.d === undefined ? "public" : "private";
  const uses = PAIR_USES[name];
  checkUsages(`${name} that is ${type}`, uses[type], usages, type === "public");
  const algorithm = halfAlgorithm(asked, members);
  if (format === "jwk") checkAlg(keyData, jwkName(algorithm) ?? (name === "ECDSA" ? JWK_ALG_OF_CURVE[members.crv] : undefined));
  return newKey(type, extractable, algorithm, usages, jwk);
}

function halfAlgorithm(asked, { n, e }) {
  const { name, namedCurve } = asked;
  if (n !== undefined) {
    const [modulus, publicExponent] = [n, e].map((text) => Uint8Array.fromBase64(text, { alphabet: "base64url" }));
    const modulusLength = modulus.length * 8 - Math.clz32(modulus[0]) + 24;
    return { name, modulusLength, publicExponent, hash: { name: hashOf(asked) } };
  }
  return namedCurve === undefined || !name.startsWith("EC") ? { name } : { name, namedCurve };
}

function convert(kind, from, key, to) {
  return compute({ operation: "convert", kind, from, to }, key);
}

function checkAlg({ alg }, expected) {
  if (alg !== undefined && expected !== undefined && alg !== expected) refuse("DataError", `the JWK's alg is not ${expected}`);
}

function encodedJwk(jwk) {
  const members = JWK_MEMBERS.filter((name) => jwk[name] !== undefined).map((name) => [name, jwk[name]]);
  return encoder.encode(JSON.stringify(Object.fromEntries(members)));
}

export async function exportKey(format, key) {
  if (!(key instanceof CryptoKey)) throw new TypeError("crypto.subtle: the key must be a CryptoKey");
  if (!Object.hasOwn(FORMS, format)) throw new TypeError(`crypto.subtle: no such form of keys: ${format}`);
  if (!key.extractable) refuse("InvalidAccessError", "the key is not extractable");
  const { data } = materials.get(key);
  if (key.type === "secret") return exportSecret(format, key, data);
  if (FORMS[format] !== null && FORMS[format] !== key.type) {
    refuse("InvalidAccessError", `a ${key.type} key is not exported as ${format}`);
  }
  if (format === "jwk") return describedJwk(JSON.parse(decoder.decode(data)), key);
  const kind = kindOf(key.algorithm);
  if (format === "raw" && kind === "RSA") refuse("NotSupportedError", "a key of RSA is not exported as raw");
  return convert(kind, "jwk", data, format).buffer;
}

function exportSecret(format, key, raw) {
  if (format === "raw") return raw.slice().buffer;
  if (format !== "jwk") refuse("NotSupportedError", `a secret key is not exported as ${format}`);
  return describedJwk({ kty: "oct", k: raw.toBase64(BASE64URL) }, key);
}

function describedJwk(jwk, { algorithm, extractable, usages }) {
  const alg = jwkName(algorithm);
  return { ...jwk, ...(alg ? { alg } : {}), ext: extractable, key_ops: [...usages] };
}

function jwkName({ name, hash, length }) {
  if (name.startsWith("AES-")) return `A${length}${name.slice(4)}`;
  if (name === "RSA-OAEP") return hash.name === "SHA-1" ? name : `${name}-${hash.name.slice(4)}`;
  const kind = { HMAC: "HS", "RSA-PSS": "PS", "RSASSA-PKCS1-v1_5": "RS" }[name];
  return kind && `${kind}${hash.name.slice(4)}`;
}

export async function generateKey(algorithm, extractable, usages) {
  const asked = algorithmOf(algorithm);
  const uses = [...usages];
  if (Object.hasOwn(PAIR_USES, asked.name)) return generatePair(asked, extractable, uses);
  const length = lengthOf(asked);
  if (length === null) refuse("NotSupportedError", `${asked.name}: keys are imported`);
  const raw = crypto.getRandomValues(new Uint8Array(length / 8));
  return importKey("raw", raw, asked, extractable, uses);
}

async function generatePair(asked, extractable, usages) {
  const { private: ofPrivate, public: ofPublic } = PAIR_USES[asked.name];
  checkUsages(asked.name, [...ofPrivate, ...ofPublic], usages, true);
  const uses = usages.filter((usage) => ofPrivate.includes(usage));
  if (uses.length === 0) refuse("SyntaxError", `a pair of ${asked.name} needs a usage of its private key: ${ofPrivate}`);
  const kind = kindOf(asked);
  if (kind === "RSA") checkRsa(asked);
  const jwk = JSON.parse(decoder.decode(compute({ operation: "generate", kind, bits: asked.modulusLength ?? null })));
  const { kty, crv, x, y, n, e } = jwk;
  const theirs = usages.filter((usage) => ofPublic.includes(usage));
  return {
    publicKey: await importKey("jwk", { kty, crv, x, y, n, e }, asked, true, theirs),
    privateKey: await importKey("jwk", jwk, asked, extractable, uses),
  };
}

function checkRsa(asked) {
  hashOf(asked);
  if (`${[...(asked.publicExponent ?? [])]}` !== `${RSA_EXPONENT}`) {
    refuse("OperationError", "publicExponent must be new Uint8Array([1, 0, 1])");
  }
}
