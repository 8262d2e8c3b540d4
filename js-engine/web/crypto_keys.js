// Keys of crypto.subtle (https://w3c.github.io/webcrypto/): made, imported and exported. The engine's own keys, of HMAC
// and signatures, never show what they are made of: what may be exported is kept beside them. All others are ours.

import { computeCrypto } from "host";

const nativeImportKey = SubtleCrypto.prototype.importKey;
const decoder = new TextDecoder();
const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);
const CIPHER_USES = ["encrypt", "decrypt", "wrapKey", "unwrapKey"];
const DERIVATION_USES = ["deriveKey", "deriveBits"];
const SECRET_USES = {
  "AES-CBC": CIPHER_USES,
  "AES-CTR": CIPHER_USES,
  "AES-GCM": CIPHER_USES,
  "AES-KW": ["wrapKey", "unwrapKey"],
  HKDF: DERIVATION_USES,
  PBKDF2: DERIVATION_USES,
};
const PAIR_USES = {
  ECDH: { private: DERIVATION_USES, public: [] },
  ECDSA: { private: ["sign"], public: ["verify"] },
  "RSASSA-PKCS1-v1_5": { private: ["sign"], public: ["verify"] },
};
const NAMES = [...Object.keys(SECRET_USES), ...Object.keys(PAIR_USES), "HMAC"];
const HASH_BLOCK_BITS = { "SHA-1": 512, "SHA-256": 512, "SHA-384": 1024, "SHA-512": 1024 };
const FORMS = { jwk: null, pkcs8: "private", raw: null, spki: "public" }; // and the type of key that has it alone
const JWK_MEMBERS = ["kty", "crv", "x", "y", "n", "e", "d", "p", "q", "dp", "dq", "qi"];
const RSA_EXPONENT = [1, 0, 1]; // 65537, which everyone takes
const BASE64URL = { alphabet: "base64url", omitPadding: true };

// Of each key of ours, and of those of the engine's that may be exported: { forms, usages }; the bytes of each form that
// the key is known in.
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

function newKey(type, extractable, algorithm, usages, forms) {
  const key = Object.create(CryptoKey.prototype);
  const members = { type, extractable: Boolean(extractable), algorithm, usages: [...new Set(usages)] };
  for (const [name, value] of Object.entries(members)) Object.defineProperty(key, name, { value, enumerable: true });
  materials.set(key, { forms, extractable: members.extractable, usages: new Set(usages) });
  return key;
}

// What a key of ours is made of, if it may be used so.
export function granted(key, name, usage) {
  if (!(key instanceof CryptoKey)) throw new TypeError("crypto.subtle: the key must be a CryptoKey");
  if (key.algorithm.name !== name) refuse("InvalidAccessError", `a key of ${key.algorithm.name} is not for ${name}`);
  const material = materials.get(key);
  if (!material?.usages?.has(usage)) refuse("InvalidAccessError", `the key's usages have no ${usage}`);
  return material.forms;
}

// The public key of another's, for an agreement with a key.
export function publicOf(theirs, key) {
  if (!(theirs instanceof CryptoKey)) throw new TypeError("crypto.subtle: public must be a CryptoKey");
  const { name, namedCurve } = theirs.algorithm;
  if (theirs.type !== "public" || name !== "ECDH" || namedCurve !== key.algorithm.namedCurve) {
    refuse("InvalidAccessError", `public must be a public key of ECDH on ${key.algorithm.namedCurve}`);
  }
  return materials.get(theirs).forms.jwk;
}

export async function importKey(format, keyData, algorithm, extractable, usages) {
  const asked = algorithmOf(algorithm);
  const uses = [...usages];
  if (Object.hasOwn(SECRET_USES, asked.name)) return importSecret(format, keyData, asked, extractable, uses);
  if (asked.name === "ECDH") return importForAgreement(format, keyData, asked, extractable, uses);
  return importNative(this, format, keyData, asked, extractable, uses);
}

function importSecret(format, keyData, { name }, extractable, usages) {
  checkUsages(name, SECRET_USES[name], usages, false);
  const isCipher = name.startsWith("AES-");
  if (format !== "raw" && !(format === "jwk" && isCipher)) refuse("NotSupportedError", `${name}: no keys as ${format}`);
  if (!isCipher && extractable) refuse("SyntaxError", `a key of ${name} cannot be extractable`);
  const raw = format === "raw" ? bytesOf(keyData, "a raw key") : secretOf(keyData, extractable, usages);
  const length = raw.length * 8;
  if (!isCipher) return newKey("secret", false, { name }, usages, { raw });
  if (![128, 192, 256].includes(length)) refuse("DataError", `${name}: a key has 128, 192 or 256 bits, not ${length}`);
  const named = jwkName({ name, length });
  if (format === "jwk" && (keyData.alg ?? named) !== named) refuse("DataError", `the JWK's alg is not ${named}`);
  return newKey("secret", extractable, { name, length }, usages, { raw });
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

function importForAgreement(format, keyData, { name, namedCurve }, extractable, usages) {
  if (format === "jwk") checkJwk(keyData, extractable, usages);
  const jwk = convert(namedCurve, format, encoded(format, keyData), "jwk");
  const type = JSON.parse(decoder.decode(jwk)).d === undefined ? "public" : "private";
  checkUsages(`${name} that is ${type}`, PAIR_USES.ECDH[type], usages, type === "public");
  return newKey(type, extractable, { name, namedCurve }, usages, { jwk });
}

function convert(curve, from, key, to) {
  return compute({ operation: "convertOnCurve", curve: `${curve}`, from, to }, key);
}

function encoded(format, keyData) {
  if (!Object.hasOwn(FORMS, format)) throw new TypeError(`crypto.subtle: no such form of keys: ${format}`);
  return format === "jwk" ? encodedJwk(keyData) : bytesOf(keyData, "a key");
}

function encodedJwk(jwk) {
  const members = JWK_MEMBERS.filter((name) => jwk[name] !== undefined).map((name) => [name, jwk[name]]);
  return encoder.encode(JSON.stringify(Object.fromEntries(members)));
}

async function importNative(subtle, format, keyData, asked, extractable, usages) {
  if (asked.name === "ECDSA" && format === "raw") {
    const jwk = JSON.parse(decoder.decode(convert(asked.namedCurve, "raw", bytesOf(keyData, "a key"), "jwk")));
    return importNative(subtle, "jwk", jwk, asked, extractable, usages);
  }
  const isJwk = format === "jwk" && keyData !== null && typeof keyData === "object";
  // The engine's own takes a member of a JWK that is there as undefined for one that has a value.
  const given = isJwk ? Object.fromEntries(Object.entries(keyData).filter(([, value]) => value !== undefined)) : keyData;
  const forms = extractable ? formsGiven(format, given, asked, usages) : null; // before the caller changes it
  const key = await nativeImportKey.call(subtle, format, given, asked, extractable, usages);
  if (extractable) materials.set(key, { forms });
  return key;
}

function formsGiven(format, keyData, { name }, usages) {
  if (name !== "HMAC") return { [format]: encoded(format, keyData) };
  return { raw: format === "jwk" ? secretOf(keyData, true, usages) : bytesOf(keyData, "a key") };
}

export async function exportKey(format, key) {
  if (!(key instanceof CryptoKey)) throw new TypeError("crypto.subtle: the key must be a CryptoKey");
  if (!Object.hasOwn(FORMS, format)) throw new TypeError(`crypto.subtle: no such form of keys: ${format}`);
  const material = materials.get(key);
  if (!key.extractable || material === undefined) refuse("InvalidAccessError", "the key is not extractable");
  if (key.type === "secret") return exportSecret(format, key, material.forms.raw);
  if (FORMS[format] !== null && FORMS[format] !== key.type) {
    refuse("InvalidAccessError", `a ${key.type} key is not exported as ${format}`);
  }
  const bytes = formOf(format, key, material.forms);
  return format === "jwk" ? describedJwk(JSON.parse(decoder.decode(bytes)), key) : bytes.slice().buffer;
}

function exportSecret(format, key, raw) {
  if (format === "raw") return raw.slice().buffer;
  if (format !== "jwk") refuse("NotSupportedError", `a secret key is not exported as ${format}`);
  return describedJwk({ kty: "oct", k: raw.toBase64(BASE64URL) }, key);
}

function formOf(format, key, forms) {
  if (forms[format]) return forms[format];
  const [[known, bytes]] = Object.entries(forms);
  const { name, namedCurve } = key.algorithm;
  if (namedCurve === undefined) refuse("NotSupportedError", `a key of ${name} that came as ${known} is exported as that`);
  if (format === "raw" && key.type !== "public") refuse("InvalidAccessError", "a private key is not exported as raw");
  return convert(namedCurve, known, bytes, format);
}

function describedJwk(jwk, { algorithm, extractable, usages }) {
  const alg = jwkName(algorithm);
  return { ...jwk, ...(alg ? { alg } : {}), ext: extractable, key_ops: [...usages] };
}

function jwkName({ name, hash, length }) {
  if (name.startsWith("AES-")) return `A${length}${name.slice(4)}`;
  const kind = { HMAC: "HS", "RSASSA-PKCS1-v1_5": "RS" }[name];
  return kind && `${kind}${hash.name.slice(4)}`;
}

export async function generateKey(algorithm, extractable, usages) {
  const asked = algorithmOf(algorithm);
  const uses = [...usages];
  if (Object.hasOwn(PAIR_USES, asked.name)) return generatePair(asked, extractable, uses);
  const length = lengthOf(asked);
  if (length === null) refuse("NotSupportedError", `${asked.name}: keys are imported`);
  const raw = crypto.getRandomValues(new Uint8Array(length / 8));
  return importKey.call(crypto.subtle, "raw", raw, asked, extractable, uses);
}

async function generatePair(asked, extractable, usages) {
  const { private: ofPrivate, public: ofPublic } = PAIR_USES[asked.name];
  checkUsages(asked.name, [...ofPrivate, ...ofPublic], usages, true);
  const uses = usages.filter((usage) => ofPrivate.includes(usage));
  if (uses.length === 0) refuse("SyntaxError", `a pair of ${asked.name} needs a usage of its private key: ${ofPrivate}`);
  const { jwk, pkcs8, spki } = asked.name.startsWith("EC") ? generatedOnCurve(asked) : generatedRsa(asked);
  const { kty, crv, x, y, n, e } = jwk;
  const half = async (format, data, mayBeExported, itsUses, form) => {
    const key = await importKey.call(crypto.subtle, format, data, asked, mayBeExported, itsUses);
    if (key.extractable) Object.assign(materials.get(key).forms, form);
    return key;
  };
  const ofTheirs = { kty, crv, x, y, n, e };
  // For no usage, the engine takes a public key of RSA as SPKI alone, and one of a curve as JWK alone.
  const [format, data] = spki ? ["spki", spki] : ["jwk", ofTheirs];
  const theirs = usages.filter((usage) => ofPublic.includes(usage));
  return {
    publicKey: await half(format, data, true, theirs, { jwk: encodedJwk(ofTheirs) }),
    privateKey: await half("jwk", jwk, extractable, uses, pkcs8 && { pkcs8 }),
  };
}

function generatedOnCurve({ namedCurve }) {
  return { jwk: JSON.parse(decoder.decode(compute({ operation: "generateOnCurve", curve: `${namedCurve}` }))) };
}

function generatedRsa(asked) {
  hashOf(asked);
  if (`${[...(asked.publicExponent ?? [])]}` !== `${RSA_EXPONENT}`) {
    refuse("OperationError", "publicExponent must be new Uint8Array([1, 0, 1])");
  }
  const made = JSON.parse(decoder.decode(compute({ operation: "generateRsa", bits: asked.modulusLength })));
  return { jwk: made.jwk, pkcs8: Uint8Array.fromBase64(made.pkcs8), spki: Uint8Array.fromBase64(made.spki) };
}
