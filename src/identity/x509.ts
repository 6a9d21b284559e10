// What of a certificate and of a revocation list Node does not tell, or tells as text that can be forged (CVE-2021-44532): read from
// the DER itself. Not whether a certificate is to be trusted.
// @see RFC 5280
import { verify, type X509Certificate } from 'node:crypto'
import { AsnConvert } from '@peculiar/asn1-schema'
import { BasicConstraints, Certificate, CertificateList, KeyUsage, KeyUsageFlags, SubjectAlternativeName } from '@peculiar/asn1-x509'
import { PdpError } from '../errors.ts'

const oids = { keyUsage: '2.5.29.15', subjectAltName: '2.5.29.17', basicConstraints: '2.5.29.19' } as const

export interface CertificateFacts {
  /** URIs among its subject alternative names. */
  readonly uris: readonly string[]
  readonly isCa: boolean
  /** Certificates below it at most, itself not counted; undefined: not said. */
  readonly maxPathLength: number | undefined
  /** Undefined: the extension is not there. */
  readonly keyUsage:
    | {
        readonly isCritical: boolean
        readonly digitalSignature: boolean
        readonly signsCertificates: boolean
        readonly signsLists: boolean
      }
    | undefined
  /** Lower-case hexadecimal. */
  readonly serial: string
}

/** @throws PdpError ERR_CERTIFICATE_REFUSED for what cannot be read */
export function factsOf(certificate: X509Certificate): CertificateFacts {
  try {
    const { tbsCertificate } = AsnConvert.parse(certificate.raw, Certificate)
    const extension = (oid: string) => {
      const found = (tbsCertificate.extensions ?? []).filter(({ extnID }) => extnID === oid)
      if (found.length > 1) throw new RangeError('an extension is there twice')
      return found[0]
    }
    const names = extension(oids.subjectAltName)
    const constraints = extension(oids.basicConstraints)
    const usage = extension(oids.keyUsage)
    const { cA = false, pathLenConstraint } =
      constraints === undefined ? {} : AsnConvert.parse(constraints.extnValue.buffer, BasicConstraints)
    const flags = usage === undefined ? undefined : AsnConvert.parse(usage.extnValue.buffer, KeyUsage).toNumber()
    return {
      uris:
        names === undefined
          ? []
          : AsnConvert.parse(names.extnValue.buffer, SubjectAlternativeName).flatMap(({ uniformResourceIdentifier: uri }) =>
              uri === undefined ? [] : [uri],
            ),
      isCa: cA,
      maxPathLength: pathLenConstraint,
      keyUsage: flags === undefined ? undefined : { isCritical: usage?.critical === true, ...usagesOf(flags) },
      serial: hexOf(tbsCertificate.serialNumber),
    }
  } catch (cause) {
    throw new PdpError('ERR_CERTIFICATE_REFUSED', `the certificate cannot be read: ${(cause as Error).message}`, { cause })
  }
}

function usagesOf(flags: number) {
  return {
    digitalSignature: (flags & KeyUsageFlags.digitalSignature) !== 0,
    signsCertificates: (flags & KeyUsageFlags.keyCertSign) !== 0,
    signsLists: (flags & KeyUsageFlags.cRLSign) !== 0,
  }
}

function hexOf(bytes: ArrayBuffer): string {
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/^(?:00)+(?=.)/, '')
}

/** A list of what an authority took back. */
export interface RevocationList {
  /** DER of the issuer's name. */
  readonly issuer: Buffer
  /** Milliseconds since 1970; behind it nothing is known. */
  readonly nextUpdateMs: number
  /** Lower-case hexadecimal. */
  readonly serials: ReadonlySet<string>
  isSignedBy(issuer: X509Certificate): boolean
}

const hashes: Readonly<Record<string, string | null>> = {
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.3.101.112': null,
}

/**
 * @param text PEM, one list or more
 * @throws PdpError ERR_CONFIG_INVALID for what is no list, has no time of its successor, or is signed in a way that is not taken
 */
export function parseRevocationLists(text: string, where: string): RevocationList[] {
  const blocks = [...text.matchAll(/-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----/g)]
  if (blocks.length === 0) throw unusable(where, 'it holds no revocation list in PEM')
  return blocks.map(([, base64 = '']) => {
    try {
      return revocationListOf(Buffer.from(base64, 'base64'))
    } catch (cause) {
      throw unusable(where, `a revocation list cannot be read: ${(cause as Error).message}`, cause)
    }
  })
}

/** @param der of one list @throws Error for what cannot be read or believed */
export function revocationListOf(der: Uint8Array): RevocationList {
  const list = AsnConvert.parse(der, CertificateList)
  const { tbsCertList, signature, signatureAlgorithm } = list
  const signed = list.tbsCertListRaw
  const next = tbsCertList.nextUpdate
  const hash = hashes[signatureAlgorithm.algorithm]
  if (next === undefined) throw new RangeError('it does not say when its successor comes')
  if (hash === undefined || signed === undefined) throw new RangeError('its signature is of a kind that is not taken')
  return {
    issuer: Buffer.from(AsnConvert.serialize(tbsCertList.issuer)),
    nextUpdateMs: next.getTime().getTime(),
    serials: new Set((tbsCertList.revokedCertificates ?? []).map(({ userCertificate }) => hexOf(userCertificate))),
    isSignedBy: (issuer) => verify(hash, Buffer.from(signed), issuer.publicKey, Buffer.from(signature)),
  }
}

/** DER of a certificate's subject. */
export function subjectOf(certificate: X509Certificate): Buffer {
  return Buffer.from(AsnConvert.serialize(AsnConvert.parse(certificate.raw, Certificate).tbsCertificate.subject))
}

function unusable(where: string, what: string, cause?: unknown): PdpError {
  return new PdpError('ERR_CONFIG_INVALID', `${where}: ${what}`, { cause })
}
