/** The authority of a listener with `mode: dynamicCa`: makes a key and a certificate for one server name (RFC 5280). Keys and signatures are the work of other threads. */
import { X509Certificate, createPrivateKey, randomBytes, webcrypto } from 'node:crypto';
import type { Issued } from './credentials.ts';
import { type Signing, signingOf } from './signing.ts';

const VERSION_3 = 2;
const SERIAL_BYTES = 16;
/** RFC 5280 appendix A, ub-common-name: a longer one has to do with its alternative name. */
const COMMON_NAME_CHARS_MAX = 64;
const FIRST_YEAR_OF_LONG_DATES = 2050;
const DNS_NAME = 2;
const LEAF_KEY = { name: 'ECDSA', namedCurve: 'P-256' };
/** The first bit, of eight. */
const DIGITAL_SIGNATURE = { valueHex: Uint8Array.of(0x80).buffer, unusedBits: 7 };

const COMMON_NAME = '2.5.4.3';
const SUBJECT_KEY_IDENTIFIER = '2.5.29.14';
const KEY_USAGE = '2.5.29.15';
const ALTERNATIVE_NAMES = '2.5.29.17';
const BASIC_CONSTRAINTS = '2.5.29.19';
const AUTHORITY_KEY_IDENTIFIER = '2.5.29.35';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const SERVER_AUTHENTICATION = '1.3.6.1.5.5.7.3.1';

type Pki = typeof import('pkijs');
type Asn1 = typeof import('asn1js');
type Certificate = InstanceType<Pki['Certificate']>;

/** From and until when, within what the authority may say. */
export interface Validity {
  readonly from: Date;
  readonly until: Date;
}

interface Signer {
  readonly pki: Pki;
  readonly asn1: Asn1;
  readonly own: Certificate;
  readonly keyId: ArrayBuffer;
  readonly key: webcrypto.CryptoKey;
  readonly signing: Signing;
}

export class Authority {
  readonly #issued: Issued;
  readonly #signer: Signer;

  private constructor(issued: Issued, signer: Signer) {
    this.#issued = issued;
    this.#signer = signer;
  }

  /** @param issued was checked (credentials.ts): it is an authority's, and its key one that signs. */
  static async open(issued: Issued): Promise<Authority> {
    const [pki, asn1] = await Promise.all([import('pkijs'), import('asn1js')]);
    const key = createPrivateKey(issued.key);
    const signing = signingOf(key) as Signing;
    const own = pki.Certificate.fromBER(new Uint8Array(new X509Certificate(issued.cert).raw));
    const written = own.extensions?.find(({ extnID }) => extnID === SUBJECT_KEY_IDENTIFIER)?.parsedValue;
    const keyId = written instanceof asn1.OctetString ? written.valueBlock.valueHex : await own.getKeyHash();
    return new Authority(issued, { pki, asn1, own, keyId, signing, key: key.toCryptoKey(signing.algorithm, false, ['sign']) });
  }

  async issue(name: string, validity: Validity): Promise<Issued> {
    const { pki, asn1, own, key, signing } = this.#signer;
    const keys = await webcrypto.subtle.generateKey(LEAF_KEY, true, ['sign', 'verify']);
    const leaf = new pki.Certificate({ version: VERSION_3, issuer: own.subject, notBefore: this.#time(validity.from), notAfter: this.#time(validity.until) });
    leaf.serialNumber = new asn1.Integer({ valueHex: positive(randomBytes(SERIAL_BYTES)) });
    if (name.length <= COMMON_NAME_CHARS_MAX) {
      leaf.subject.typesAndValues.push(new pki.AttributeTypeAndValue({ type: COMMON_NAME, value: new asn1.Utf8String({ value: name }) }));
    }
    await leaf.subjectPublicKeyInfo.importKey(keys.publicKey);
    leaf.extensions = this.#extensions(name, await leaf.getKeyHash());
    await leaf.sign(key, signing.hash);
    const secret = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return { cert: `${pem('CERTIFICATE', leaf.toSchema(true).toBER())}${this.#issued.cert}`, key: pem('PRIVATE KEY', secret) };
  }

  #extensions(name: string, keyId: ArrayBuffer): InstanceType<Pki['Extension']>[] {
    const { pki, asn1, keyId: authorityKeyId } = this.#signer;
    const extension = (extnID: string, value: { toBER(): ArrayBuffer }, critical = false) => new pki.Extension({ extnID, critical, extnValue: value.toBER() });
    return [
      extension(BASIC_CONSTRAINTS, new pki.BasicConstraints({ cA: false }).toSchema(), true),
      extension(KEY_USAGE, new asn1.BitString(DIGITAL_SIGNATURE), true),
      extension(EXTENDED_KEY_USAGE, new pki.ExtKeyUsage({ keyPurposes: [SERVER_AUTHENTICATION] }).toSchema()),
      // RFC 5280 §4.2.1.6: critical where there is no other name.
      extension(ALTERNATIVE_NAMES, new pki.GeneralNames({ names: [new pki.GeneralName({ type: DNS_NAME, value: name })] }).toSchema(), name.length > COMMON_NAME_CHARS_MAX),
      extension(SUBJECT_KEY_IDENTIFIER, new asn1.OctetString({ valueHex: keyId })),
      extension(AUTHORITY_KEY_IDENTIFIER, new pki.AuthorityKeyIdentifier({ keyIdentifier: new asn1.OctetString({ valueHex: authorityKeyId }) }).toSchema()),
    ];
  }

  #time(value: Date): InstanceType<Pki['Time']> {
    return new this.#signer.pki.Time({ type: value.getUTCFullYear() < FIRST_YEAR_OF_LONG_DATES ? 0 : 1, value });
  }
}

/** An INTEGER without a sign, and in its shortest form: the first bits are 01. */
function positive(bytes: Buffer): ArrayBuffer {
  const number = Uint8Array.from(bytes);
  number[0] = ((number[0] ?? 0) & 0x7f) | 0x40;
  return number.buffer;
}

const pem = (kind: string, der: ArrayBuffer): string => `-----BEGIN ${kind}-----\n${(Buffer.from(der).toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END ${kind}-----\n`;
