"""`crypto.subtle` in functions: known answers, other implementations, and what is refused."""

import base64
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

if TYPE_CHECKING:
    from tests.system.engine.conftest import Loader, Node

USUAL = """
const {subtle} = crypto;
const bytes = (hex) => Uint8Array.fromHex(hex);
const hex = (buffer) => new Uint8Array(buffer).toHex();
const text = (text) => new TextEncoder().encode(text);
const raw = (key, name, ...usages) => subtle.importKey('raw', bytes(key), name, name !== 'HKDF', usages);
const outcome = (promise) => promise.then(() => 'done', (error) => `${error.constructor.name} ${error.name}`);
"""


def told(load: "Loader", code: str, **given: Any) -> Any:
    """Return what a function says whose handler ends with this expression in `Response.json`."""
    function = load.handler(f"const given = await request.json(); {USUAL} {code}")
    answer = function.call("POST", body=json.dumps(given).encode())
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


@pytest.mark.parametrize(
    ("name", "parameters", "key", "plain", "encrypted"),
    [
        (  # NIST's test case 4 of GCM, with additional data
            "AES-GCM",
            "iv: bytes('cafebabefacedbaddecaf888'), additionalData: bytes('feedfacedeadbeeffeedfacedeadbeefabaddad2')",
            "feffe9928665731c6d6a8f9467308308",
            (
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
            ),
            (
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
                "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47"
            ),
        ),
        (  # NIST SP 800-38A, F.5.1
            "AES-CTR",
            "counter: bytes('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff'), length: 64",
            "2b7e151628aed2a6abf7158809cf4f3c",
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff",
        ),
        (  # NIST SP 800-38A, F.2.1, whose padding is one block more
            "AES-CBC",
            "iv: bytes('000102030405060708090a0b0c0d0e0f')",
            "2b7e151628aed2a6abf7158809cf4f3c",
            "6bc1bee22e409f96e93d7e117393172a",
            "7649abac8119b246cee98e9b12e9197d8964e0b149c10b7b682e6e39aaeb731c",
        ),
    ],
)
def test_ciphers_have_the_known_answers_both_ways(
    load: "Loader", name: str, parameters: str, key: str, plain: str, encrypted: str
):
    code = f"""
        const asked = {{name: '{name.lower()}', {parameters}}};
        const key = await raw('{key}', '{name}', 'encrypt', 'decrypt');
        return Response.json([hex(await subtle.encrypt(asked, key, bytes('{plain}'))),
          hex(await subtle.decrypt(asked, key, bytes('{encrypted}')))]);"""
    assert told(load, code) == [encrypted, plain]


def test_a_counter_that_comes_round_leaves_the_rest_of_its_block_alone(load: "Loader"):
    code = """
        const key = await raw('2b7e151628aed2a6abf7158809cf4f3c', 'AES-CTR', 'encrypt');
        const of = async (counter, length, size) => hex(await subtle.encrypt(
          {name: 'AES-CTR', counter: bytes(counter), length}, key, new Uint8Array(size)));
        return Response.json([await of('000000000000000000000000000000ff', 8, 32),
          await of('000000000000000000000000000000ff', 64, 16) + await of('00000000000000000000000000000000', 64, 16),
          await of('00000000000000000000000000000000', 2, 80).catch((error) => error.name)]);"""
    come_round, expected, refused = told(load, code)
    assert come_round == expected
    assert refused == "OperationError"


def test_keys_and_bits_are_derived_with_the_known_answers(load: "Loader"):
    code = """
        const hkdf = await raw('0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 'HKDF', 'deriveBits');
        const asked = {name: 'HKDF', hash: 'SHA-256', salt: bytes('000102030405060708090a0b0c'),
          info: bytes('f0f1f2f3f4f5f6f7f8f9')};
        const password = await subtle.importKey('raw', text('password'), 'PBKDF2', false, ['deriveBits', 'deriveKey']);
        const slow = {name: 'PBKDF2', hash: 'SHA-256', salt: text('salt'), iterations: 4096};
        const key = await subtle.deriveKey(slow, password, {name: 'AES-GCM', length: 256}, true, ['encrypt']);
        const mac = await subtle.deriveKey(slow, password, {name: 'HMAC', hash: 'SHA-256'}, true, ['sign']);
        return Response.json([hex(await subtle.deriveBits(asked, hkdf, 336)),
          hex(await subtle.deriveBits(slow, password, 256)), hex(await subtle.exportKey('raw', key)),
          hex(await subtle.exportKey('raw', mac))]);"""
    derived, bits, key, mac = told(load, code)
    assert derived == (  # RFC 5869, A.1
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert bits == "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"  # RFC 6070's, with SHA-256
    assert key == bits
    assert mac == hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 4096, 64).hex()


def test_what_python_encrypts_is_decrypted_and_the_other_way_round(load: "Loader"):
    key, vector = bytes(range(32)), bytes(12)
    large = b"x" * 300_000
    sealed = AESGCM(key).encrypt(vector, large, None)
    code = """
        const key = await subtle.importKey('jwk', given.jwk, 'AES-GCM', true, ['encrypt', 'decrypt']);
        const asked = {name: 'AES-GCM', iv: new Uint8Array(12)};
        const plain = new Uint8Array(await subtle.decrypt(asked, key, Uint8Array.fromBase64(given.sealed)));
        const back = new Uint8Array(await subtle.encrypt(asked, key, plain));
        return Response.json([plain.length, back.toBase64() === given.sealed, await subtle.exportKey('jwk', key)]);"""
    encoded = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
    jwk = {"kty": "oct", "k": encoded, "alg": "A256GCM"}
    length, is_same, exported = told(load, code, jwk=jwk, sealed=base64.b64encode(sealed).decode())
    assert (length, is_same) == (len(large), True)
    assert exported == {**jwk, "ext": True, "key_ops": ["encrypt", "decrypt"]}


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
def test_generated_keys_of_curves_sign_agree_and_are_exported_in_each_form(load: "Loader", curve: str):
    code = f"""
        const namedCurve = '{curve}';
        const pair = await subtle.generateKey({{name: 'ECDSA', namedCurve}}, true, ['sign', 'verify']);
        const asked = {{name: 'ECDSA', hash: 'SHA-256'}};
        const signature = await subtle.sign(asked, pair.privateKey, text('hello'));
        const point = await subtle.exportKey('raw', pair.publicKey);
        const again = await subtle.importKey('raw', point, {{name: 'ECDSA', namedCurve}}, true, ['verify']);
        const mine = await subtle.generateKey({{name: 'ECDH', namedCurve}}, false, ['deriveBits']);
        const spki = Uint8Array.fromBase64(given.spki);
        const theirs = await subtle.importKey('spki', spki, {{name: 'ECDH', namedCurve}}, true, []);
        return Response.json([await subtle.verify(asked, again, signature, text('hello')),
          hex(await subtle.exportKey('pkcs8', pair.privateKey)), hex(await subtle.exportKey('spki', pair.publicKey)),
          hex(await subtle.exportKey('raw', mine.publicKey)),
          hex(await subtle.deriveBits({{name: 'ECDH', public: theirs}}, mine.privateKey, null)),
          [pair.privateKey.type, pair.privateKey.extractable, mine.privateKey.extractable, mine.publicKey.extractable,
           mine.privateKey instanceof CryptoKey]]);"""
    curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    ours = ec.generate_private_key(curves[curve])
    spki = ours.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    is_true, pkcs8, public, point, shared, members = told(load, code, spki=base64.b64encode(spki).decode())
    assert is_true
    private = load_der_private_key(bytes.fromhex(pkcs8), None)
    assert private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex() == public
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(curves[curve], bytes.fromhex(point))
    assert ours.exchange(ec.ECDH(), theirs).hex() == shared
    assert members == ["private", True, False, True, True]


def test_a_generated_key_of_rsa_signs(load: "Loader"):
    code = """
        const asked = {name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048,
          publicExponent: new Uint8Array([1, 0, 1])};
        const {privateKey, publicKey} = await subtle.generateKey(asked, true, ['sign', 'verify']);
        const signature = await subtle.sign(asked, privateKey, text('hello'));
        return Response.json([await subtle.verify(asked, publicKey, signature, text('hello')), hex(signature),
          hex(await subtle.exportKey('pkcs8', privateKey)), await subtle.exportKey('jwk', publicKey)]);"""
    is_true, signature, pkcs8, jwk = told(load, code)
    assert is_true
    private = load_der_private_key(bytes.fromhex(pkcs8), None)
    assert isinstance(private, RSAPrivateKey)
    private.public_key().verify(bytes.fromhex(signature), b"hello", padding.PKCS1v15(), SHA256())
    assert (jwk["kty"], jwk["alg"], "d" in jwk) == ("RSA", "RS256", False)


@pytest.mark.parametrize(
    "algorithm",
    [
        "{name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256'}",
        "{name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1])}",
    ],
)
def test_a_pair_that_is_generated_to_sign_alone_shows_its_public_key(load: "Loader", algorithm: str):
    code = f"""
        const {{privateKey, publicKey}} = await subtle.generateKey({algorithm}, false, ['sign']);
        const asked = {algorithm};
        const jwk = {{...await subtle.exportKey('jwk', publicKey), key_ops: undefined}};
        const again = await subtle.importKey('jwk', jwk, asked, false, ['verify']);
        return Response.json([publicKey.usages,
          await subtle.verify(asked, again, await subtle.sign(asked, privateKey, text('x')), text('x')),
          await outcome(subtle.exportKey('jwk', privateKey))]);"""
    assert told(load, code) == [[], True, "DOMException InvalidAccessError"]


def test_signatures_of_ed25519_have_the_known_answer_and_keys_each_form(load: "Loader"):
    # RFC 8032, 7.1, test 3
    private = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"
    public = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    code = """
        const url = (key) => bytes(key).toBase64({alphabet: 'base64url', omitPadding: true});
        const [d, x] = [given.private, given.public].map(url);
        const jwk = {kty: 'OKP', crv: 'Ed25519', d, x};
        const key = await subtle.importKey('jwk', jwk, {name: 'ed25519'}, true, ['sign']);
        const verifying = await subtle.importKey('raw', bytes(given.public), 'Ed25519', true, ['verify']);
        const signature = await subtle.sign('Ed25519', key, bytes('af82'));
        const {publicKey, privateKey} = await subtle.generateKey('Ed25519', false, ['sign', 'verify']);
        const [pkcs8, spki] = [await subtle.exportKey('pkcs8', key), await subtle.exportKey('spki', verifying)];
        const again = await subtle.importKey('pkcs8', pkcs8, 'Ed25519', true, ['sign']);
        return Response.json([hex(signature), await subtle.verify('Ed25519', verifying, signature, bytes('af82')),
          await subtle.verify('Ed25519', verifying, signature, bytes('af83')),
          await subtle.verify('Ed25519', publicKey, await subtle.sign('Ed25519', privateKey, text('x')), text('x')),
          (await subtle.exportKey('jwk', again)).d === d, hex(spki), key.algorithm]);"""
    signature, *rest = told(load, code, private=private, public=public)
    assert signature == (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert rest == [True, False, True, True, "302a300506032b6570032100" + public, {"name": "Ed25519"}]


def test_two_keys_of_x25519_agree_on_what_python_has(load: "Loader"):
    code = """
        const url = (key) => bytes(key).toBase64({alphabet: 'base64url', omitPadding: true});
        const [d, x] = [given.private, given.own].map(url);
        const key = await subtle.importKey('jwk', {kty: 'OKP', crv: 'X25519', d, x}, 'X25519', false, ['deriveBits']);
        const theirs = await subtle.importKey('raw', bytes(given.theirs), 'X25519', true, []);
        const zero = await subtle.importKey('raw', new Uint8Array(32), 'X25519', true, []);
        const mine = await subtle.generateKey('X25519', true, ['deriveKey']);
        return Response.json([hex(await subtle.deriveBits({name: 'X25519', public: theirs}, key, null)),
          await outcome(subtle.deriveBits({name: 'X25519', public: zero}, key, 256)),
          (await subtle.deriveKey({name: 'X25519', public: theirs}, mine.privateKey, {name: 'AES-GCM', length: 256},
            true, ['encrypt'])).algorithm.length]);"""
    ours = X25519PrivateKey.generate()
    other = X25519PrivateKey.generate()
    given = {
        "private": ours.private_bytes_raw().hex(),
        "own": ours.public_key().public_bytes_raw().hex(),
        "theirs": other.public_key().public_bytes_raw().hex(),
    }
    shared, of_zero, length = told(load, code, **given)
    assert shared == other.exchange(ours.public_key()).hex()
    assert (of_zero, length) == ("DOMException OperationError", 256)


@pytest.mark.parametrize("bits", [2048, 4096])
def test_keys_of_rsa_decrypt_and_sign_what_python_encrypts_and_verifies(load: "Loader", bits: int):
    key = rsa.generate_private_key(65537, bits)
    public = key.public_key()
    oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), b"about")
    code = """
        const pkcs8 = Uint8Array.fromBase64(given.pkcs8), spki = Uint8Array.fromBase64(given.spki);
        const oaep = {name: 'RSA-OAEP', hash: 'SHA-256', label: text('about')};
        const opening = await subtle.importKey('pkcs8', pkcs8, oaep, true, ['decrypt']);
        const sealing = await subtle.importKey('spki', spki, oaep, true, ['encrypt']);
        const pss = {name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32};
        const signing = await subtle.importKey('jwk', {...await subtle.exportKey('jwk', opening), alg: 'PS256',
          key_ops: ['sign']}, pss, false, ['sign']);
        const verifying = await subtle.importKey('spki', spki, pss, true, ['verify']);
        const signature = await subtle.sign(pss, signing, text('hello'));
        const {modulusLength, publicExponent, hash} = signing.algorithm;
        return Response.json([hex(await subtle.decrypt(oaep, opening, Uint8Array.fromBase64(given.sealed))),
          hex(await subtle.encrypt(oaep, sealing, text('back'))), hex(signature),
          await subtle.verify(pss, verifying, signature, text('hello')),
          await subtle.verify(pss, verifying, signature, text('other')),
          [modulusLength, [...publicExponent], hash.name], (await subtle.exportKey('jwk', sealing)).alg,
          await outcome(subtle.decrypt({...oaep, label: text('else')}, opening, Uint8Array.fromBase64(given.sealed))),
          await outcome(subtle.encrypt(oaep, sealing, new Uint8Array(600)))]);"""
    given = {
        "pkcs8": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "spki": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "sealed": public.encrypt(b"secret", oaep),
    }
    opened, sealed, signature, *rest = told(
        load, code, **{name: base64.b64encode(value).decode() for name, value in given.items()}
    )
    assert bytes.fromhex(opened) == b"secret"
    assert key.decrypt(bytes.fromhex(sealed), oaep) == b"back"
    public.verify(bytes.fromhex(signature), b"hello", padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
    refused = "DOMException OperationError"
    assert rest == [True, False, [bits, [1, 0, 1], "SHA-256"], "RSA-OAEP-256", refused, refused]


def test_keys_are_wrapped_with_rsa(load: "Loader"):
    code = """
        const asked = {name: 'RSA-OAEP', hash: 'SHA-1', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1])};
        const {publicKey, privateKey} = await subtle.generateKey(asked, false, ['wrapKey', 'unwrapKey']);
        const key = await raw('00112233445566778899aabbccddeeff', 'AES-GCM', 'encrypt');
        const wrapped = await subtle.wrapKey('raw', key, publicKey, asked);
        const back = await subtle.unwrapKey('raw', wrapped, privateKey, asked, 'AES-GCM', true, ['decrypt']);
        return Response.json([hex(await subtle.exportKey('raw', back)), publicKey.usages, privateKey.usages]);"""
    assert told(load, code) == ["00112233445566778899aabbccddeeff", ["wrapKey"], ["unwrapKey"]]


def test_bytes_are_compared_without_telling_where_they_differ(load: "Loader"):
    code = """
        const equal = (a, b) => subtle.timingSafeEqual(text(a), text(b).buffer);
        return Response.json([equal('same', 'same'), equal('same', 'sane'), equal('', '')]);"""
    assert told(load, code) == [True, False, True]


def test_keys_are_wrapped_and_unwrapped(load: "Loader"):
    code = """
        const wrapping = await raw('000102030405060708090a0b0c0d0e0f', 'AES-KW', 'wrapKey', 'unwrapKey');
        const key = await raw('00112233445566778899aabbccddeeff', 'AES-GCM', 'encrypt');
        const wrapped = await subtle.wrapKey('raw', key, wrapping, 'AES-KW');
        const back = await subtle.unwrapKey('raw', wrapped, wrapping, 'AES-KW', 'AES-GCM', true, ['decrypt']);
        const hmac = {name: 'HMAC', hash: 'SHA-512'};
        const mac = await subtle.generateKey(hmac, true, ['sign']);
        const sealing = await subtle.generateKey({name: 'AES-GCM', length: 256}, false, ['wrapKey', 'unwrapKey']);
        const asked = {name: 'AES-GCM', iv: new Uint8Array(12)};
        const sealed = await subtle.wrapKey('jwk', mac, sealing, asked);
        const again = await subtle.unwrapKey('jwk', sealed, sealing, asked, hmac, true, ['sign']);
        return Response.json([hex(wrapped), hex(await subtle.exportKey('raw', back)),
          hex(await subtle.exportKey('raw', again)) === hex(await subtle.exportKey('raw', mac)), mac.algorithm.length,
          (await subtle.exportKey('jwk', mac)).alg, await outcome(subtle.exportKey('raw', sealing))]);"""
    wrapped = "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"  # RFC 3394, 4.1
    key = "00112233445566778899aabbccddeeff"
    assert told(load, code) == [wrapped, key, True, 1024, "HS512", "DOMException InvalidAccessError"]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("subtle.encrypt({name: 'AES-GCM', iv: new Uint8Array(12)}, reading, text('x'))", "InvalidAccessError"),
        ("subtle.encrypt({name: 'AES-CBC', iv: new Uint8Array(16)}, key, text('x'))", "InvalidAccessError"),
        ("subtle.encrypt({name: 'AES-GCM', iv: new Uint8Array(12)}, mac, text('x'))", "InvalidAccessError"),
        ("subtle.encrypt({name: 'RSA-OAEP'}, key, text('x'))", "InvalidAccessError"),
        ("subtle.encrypt({name: 'RSAES'}, key, text('x'))", "NotSupportedError"),
        ("subtle.sign('HMAC', key, text('x'))", "InvalidAccessError"),
        ("subtle.sign({name: 'ECDSA', hash: 'SHA-256'}, mac, text('x'))", "InvalidAccessError"),
        ("subtle.sign('AES-GCM', key, text('x'))", "NotSupportedError"),
        ("subtle.sign('HMAC', {}, text('x'))", "TypeError"),
        ("subtle.sign('HMAC', mac, 'x')", "TypeError"),
        ("subtle.sign({name: 'ECDSA'}, pair.privateKey, text('x'))", "TypeError"),
        ("subtle.sign({name: 'ECDSA', hash: 'MD5'}, pair.privateKey, text('x'))", "NotSupportedError"),
        ("subtle.sign({name: 'ECDSA', hash: 'SHA-1'}, pair.publicKey, text('x'))", "InvalidAccessError"),
        ("subtle.verify('HMAC', mac, new Uint8Array(32), text('x'))", "InvalidAccessError"),
        ("subtle.verify('HMAC', key, new Uint8Array(32), text('x'))", "InvalidAccessError"),
        ("subtle.deriveBits({name: 'ECDH', public: pair.publicKey}, agreeing.privateKey, 256)", "InvalidAccessError"),
        ("subtle.deriveBits({name: 'ECDH', public: {}}, agreeing.privateKey, 256)", "TypeError"),
        ("subtle.deriveBits({name: 'ECDH', public: agreeing.publicKey}, pair.privateKey, 256)", "InvalidAccessError"),
        ("subtle.deriveKey(slow, password, {name: 'AES-GCM', length: 128}, true, ['encrypt'])", "InvalidAccessError"),
        ("subtle.wrapKey('raw', mac, key, {name: 'AES-GCM', iv: new Uint8Array(12)})", "InvalidAccessError"),
        ("subtle.exportKey('raw', password)", "InvalidAccessError"),
        ("subtle.exportKey('spki', pair.privateKey)", "InvalidAccessError"),
        ("subtle.exportKey('pkcs8', mac)", "NotSupportedError"),
        ("subtle.exportKey('der', mac)", "TypeError"),
        ("subtle.digest('SHA-3', text('x'))", "NotSupportedError"),
        ("subtle.importKey('raw', text('x'), {name: 'HMAC'}, true, ['sign'])", "TypeError"),
        ("subtle.importKey('raw', text(''), {name: 'HMAC', hash: 'SHA-1'}, true, ['sign'])", "DataError"),
        ("subtle.importKey('raw', text('x'), {name: 'HMAC', hash: 'SHA-1'}, true, ['encrypt'])", "SyntaxError"),
        ("subtle.importKey('raw', text('x'), 'X448', true, [])", "NotSupportedError"),
        (
            "subtle.importKey('jwk', {kty: 'oct', k: 'AA', alg: 'HS1'}, {...slow, name: 'HMAC'}, true, ['sign'])",
            "DataError",
        ),
        ("subtle.importKey('pkcs8', text('x'), {name: 'RSA-PSS', hash: 'SHA-1'}, true, ['sign'])", "DataError"),
        ("subtle.importKey('raw', text('x'), {name: 'RSA-PSS', hash: 'SHA-1'}, true, [])", "NotSupportedError"),
        ("subtle.importKey('raw', new Uint8Array(32), 'Ed25519', true, ['sign'])", "SyntaxError"),
        ("subtle.importKey('raw', new Uint8Array(31), 'Ed25519', true, ['verify'])", "DataError"),
        ("subtle.timingSafeEqual(new Uint8Array(1), new Uint8Array(2))", "TypeError"),
        ("crypto.getRandomValues(new Uint8Array(65537))", "QuotaExceededError"),
        ("crypto.getRandomValues(new Float32Array(1))", "TypeMismatchError"),
        ("subtle.encrypt({name: 'AES-GCM', iv: new Uint8Array(2)}, key, text('x'))", "OperationError"),
        ("subtle.encrypt({name: 'AES-GCM', iv: new Uint8Array(12), tagLength: 7}, key, text('x'))", "OperationError"),
        ("subtle.encrypt({name: 'AES-GCM', iv: 'abc'}, key, text('x'))", "TypeError"),
        ("subtle.encrypt({name: 'AES-GCM', iv: new Uint8Array(12)}, {}, text('x'))", "TypeError"),
        ("subtle.decrypt({name: 'AES-GCM', iv: new Uint8Array(12)}, reading, new Uint8Array(40))", "OperationError"),
        ("subtle.decrypt({name: 'AES-GCM', iv: new Uint8Array(12)}, reading, new Uint8Array(4))", "OperationError"),
        ("subtle.importKey('raw', new Uint8Array(16), 'AES-GCM', true, [])", "SyntaxError"),
        ("subtle.importKey('raw', new Uint8Array(16), 'AES-GCM', true, ['sign'])", "SyntaxError"),
        ("subtle.importKey('raw', new Uint8Array(5), 'AES-GCM', true, ['encrypt'])", "DataError"),
        ("subtle.importKey('raw', new Uint8Array(5), 'PBKDF2', true, ['deriveBits'])", "SyntaxError"),
        ("subtle.importKey('jwk', {kty: 'oct', k: '!'}, 'AES-GCM', true, ['encrypt'])", "DataError"),
        ("subtle.importKey('raw', new Uint8Array(65), {name: 'ECDH', namedCurve: 'P-256'}, true, [])", "DataError"),
        ("subtle.importKey('spki', new Uint8Array(9e3), {name: 'ECDH', namedCurve: 'P-256'}, true, [])", "DataError"),
        ("subtle.generateKey({name: 'AES-GCM', length: 100}, true, ['encrypt'])", "OperationError"),
        ("subtle.generateKey({name: 'ECDSA', namedCurve: 'P-256'}, true, ['verify'])", "SyntaxError"),
        ("subtle.generateKey({name: 'ECDSA', namedCurve: 'P-1'}, true, ['sign'])", "NotSupportedError"),
        ("subtle.generateKey('X448', true, ['sign'])", "NotSupportedError"),
        ("subtle.deriveBits({...slow, iterations: 1e9}, password, 256)", "OperationError"),
        ("subtle.deriveBits({...slow, iterations: 0}, password, 256)", "OperationError"),
        ("subtle.deriveBits(slow, password, 8e6)", "OperationError"),
        ("subtle.deriveBits(slow, password, 7)", "OperationError"),
        ("subtle.deriveBits(slow, password)", "OperationError"),
        ("subtle.deriveBits({...slow, hash: 'MD5'}, password, 256)", "NotSupportedError"),
        ("subtle.encrypt({name: 'AES-GCM', iv: new Uint8Array(12)}, key, new Uint8Array(33 << 20))", "OperationError"),
    ],
)
def test_what_cannot_be_done_is_refused_by_the_name_of_the_standard(load: "Loader", code: str, name: str):
    made = """
        const key = await raw('00112233445566778899aabbccddeeff', 'AES-GCM', 'encrypt');
        const reading = await raw('00112233445566778899aabbccddeeff', 'AES-GCM', 'decrypt');
        const mac = await subtle.importKey('raw', text('secret'), {name: 'HMAC', hash: 'SHA-256'}, true, ['sign']);
        const password = await subtle.importKey('raw', text('password'), 'PBKDF2', false, ['deriveBits']);
        const onCurve = {namedCurve: 'P-256'};
        const pair = await subtle.generateKey({name: 'ECDSA', ...onCurve}, true, ['sign', 'verify']);
        const agreeing = await subtle.generateKey({name: 'ECDH', ...onCurve}, true, ['deriveBits']);
        const slow = {name: 'PBKDF2', hash: 'SHA-256', salt: text('salt'), iterations: 1000};"""
    expected = "TypeError TypeError" if name == "TypeError" else f"DOMException {name}"
    asked = f"Promise.resolve().then(() => {code})"
    assert told(load, f"{made} return Response.json(await outcome({asked}));") == expected


def test_a_function_that_tampers_with_what_the_host_is_told_gets_an_error(load: "Loader"):
    code = """
        const key = await raw('00112233445566778899aabbccddeeff', 'AES-GCM', 'encrypt');
        const asked = {name: 'AES-GCM', iv: new Uint8Array(12)};
        const {stringify} = JSON;
        const said = [];
        for (const head of ['', '[]', '5', '{', 'null', '{"operation": 5}', '{"operation": "x"}',
            '{"operation": "encrypt"}', '{"operation": "convert", "kind": "P-256", "from": "pkcs8", "to": "x"}',
            '{"operation": "encrypt", "name": "AES-GCM", "key": "AA==", "iv": "AAAAAAAAAAAAAAAA", "tagLength": 128}',
            '{"operation": "encrypt", "name": "AES-GCM", "key": "\\u00fc", "iv": [], "tagLength": true}',
            '{"operation": "decrypt", "name": "x"}', '{"operation": "hkdf", "hash": "SHA-1", "bytes": 1e99}',
            '{"operation": "agree", "kind": "P-256", "private": "W10=", "public": "W10="}',
            '{"operation": "convert", "kind": "P-256", "from": "jwk", "to": "jwk"}',
            '{"operation": "generate", "kind": "RSA", "bits": 2049}',
            '{"operation": "sign", "name": "x", "hash": "SHA-1"}',
            '{"operation": "sign", "name": "RSA-PSS", "hash": "SHA-1", "key": "AA==", "saltLength": 5}',
            '{"operation": "verify", "name": "Ed25519", "key": "AA==", "signature": "AA=="}',
            '{"operation": "encrypt", "name": "RSA-OAEP", "hash": "SHA-1", "key": "W10=", "label": ""}',
            ' '.repeat(3e5)]) {
          JSON.stringify = () => head;
          said.push(await outcome(subtle.encrypt(asked, key, text('[]'))));
        }
        JSON.stringify = stringify;
        return Response.json([said, await outcome(subtle.encrypt(asked, key, text('x')))]);"""
    said, after = told(load, code)
    assert all(each.startswith("DOMException ") for each in said), said
    assert after == "done"


async def test_others_are_answered_while_a_password_is_derived(node: "Node"):
    slow = "{name: 'PBKDF2', hash: 'SHA-512', salt: new Uint8Array(16), iterations: 100000}"
    derive = f"""
        const key = await crypto.subtle.importKey('raw', new Uint8Array(8), 'PBKDF2', false, ['deriveBits']);
        for (let n = 0; await env.KV.get('enough') === null; n++) {{
          await env.KV.put('present', `${{n}}`);
          await crypto.subtle.deriveBits({slow}, key, 512);
        }}
        return new Response('derived');"""
    node.deploy("derive-1", derive, shared_kv="both")
    node.deploy("present-1", "return new Response(await env.KV.get('present'));", shared_kv="both")
    node.deploy("enough-1", "await env.KV.put('enough', ''); return new Response();", shared_kv="both")
    with ThreadPoolExecutor(1) as threads:
        deriving = threads.submit(node.request, "derive-1")
        present: list[bytes] = []
        while b"" in present[-5:] or len(present) < 5 or len(set(present[-5:])) > 1:  # five answers in one derivation
            present.append((await anyio.to_thread.run_sync(node.request, "present-1")).body)
            assert not deriving.done(), "they waited for the derivation"
        await anyio.to_thread.run_sync(node.request, "enough-1")
        assert (await anyio.to_thread.run_sync(deriving.result)).body == b"derived"


async def test_what_is_derived_counts_as_computed(node: "Node"):
    derive = """
        const key = await crypto.subtle.importKey('raw', new Uint8Array(8), 'PBKDF2', false, ['deriveBits']);
        const slow = {name: 'PBKDF2', hash: 'SHA-512', salt: new Uint8Array(16), iterations: 100000};
        for (;;) await crypto.subtle.deriveBits(slow, key, 512);"""
    node.deploy("derive-1", derive, cpu_seconds_max=1)
    answer = await anyio.to_thread.run_sync(node.request, "derive-1")
    assert (answer.status, answer.header("x-skerry-error")) == (500, "cpu-time")
