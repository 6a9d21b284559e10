// Trees, proofs, notes and checkpoints: as other implementations make them (merkle-vectors.json is made by test/system/merkle-vectors),
// and nothing that was tampered with.
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { emptyRoot, GrowingTree, Leaves, leafHash, leafHashAt, verifyConsistency, verifyInclusion } from '../../src/audit/tree/merkle.ts'
import {
  checkpointText,
  noteSigner,
  parseCheckpoint,
  parseNote,
  parseVerifier,
  signNote,
  verifierText,
  verifyNote,
} from '../../src/audit/tree/note.ts'

interface Vector {
  readonly old: number
  readonly size: number
  readonly proof: readonly string[]
}
const vectors = JSON.parse(readFileSync(new URL('merkle-vectors.json', import.meta.url), 'utf8')) as {
  entries: string[]
  roots: string[]
  inclusion: Vector[]
  consistency: Vector[]
  note: { verifier: string; text: string; signed: string; seed: string }
}
const entries = vectors.entries.map((one) => leafHash(Buffer.from(one, 'base64')))
const roots = vectors.roots.map((one) => Buffer.from(one, 'base64').toString('latin1'))
const proofOf = ({ proof }: Vector) => proof.map((one) => Buffer.from(one, 'base64').toString('latin1'))
const leaves = new Leaves()
for (const one of entries) leaves.add(one)

describe('the tree of others', () => {
  test('has the roots that a growing one has, also one that goes on from its parts', () => {
    expect(roots[0]).toBe(emptyRoot)
    let tree = new GrowingTree()
    expect(tree.root()).toBe(emptyRoot)
    for (const [i, leaf] of entries.entries()) {
      tree = new GrowingTree(tree.size, tree.roots)
      tree.append(leaf)
      expect([tree.size, tree.root(), leaves.root(0, i + 1)]).toEqual([i + 1, roots[i + 1], roots[i + 1]])
    }
  })

  test('has the proofs that are made here, and they verify', () => {
    expect(vectors.inclusion.length).toBeGreaterThan(150)
    for (const one of vectors.inclusion) {
      expect(leaves.inclusionProof(one.old, one.size)).toEqual(proofOf(one))
      expect(verifyInclusion(one.old, one.size, entries[one.old] as string, proofOf(one), roots[one.size] as string)).toBe(true)
    }
    for (const one of vectors.consistency) {
      expect(leaves.consistencyProof(one.old, one.size)).toEqual(proofOf(one))
      expect(verifyConsistency(one.old, one.size, roots[one.old] as string, roots[one.size] as string, proofOf(one))).toBe(true)
    }
  })

  test('has no proof that verifies for something else', () => {
    for (const one of vectors.inclusion) {
      const [leaf, proof, root] = [entries[one.old] as string, proofOf(one), roots[one.size] as string]
      const verify = (index: number, size: number, path: readonly string[], hash = leaf, top = root) =>
        verifyInclusion(index, size, hash, path, top)
      expect(verify(one.old + 1, one.size, proof)).toBe(false)
      expect(verify(one.old - 1, one.size, proof)).toBe(false)
      expect(verify(one.old, one.size, [...proof, root])).toBe(false)
      expect(verify(one.old, one.size, proof, entries[(one.old + 1) % entries.length] as string)).toBe(false)
      expect(verify(one.old, one.size, proof, leaf, roots[one.size - 1] as string)).toBe(false)
      if (proof.length > 0) expect(verify(one.old, one.size, proof.slice(1))).toBe(false)
      for (const [i, hash] of proof.entries()) {
        const changed = [...proof]
        changed[i] = String.fromCharCode(hash.charCodeAt(0) ^ 1) + hash.slice(1)
        expect(verify(one.old, one.size, changed)).toBe(false)
      }
    }
    for (const one of vectors.consistency.filter(({ old, size }) => old < size)) {
      const [from, to, proof] = [roots[one.old] as string, roots[one.size] as string, proofOf(one)]
      expect(verifyConsistency(one.old, one.size, to, from, proof)).toBe(false)
      expect(verifyConsistency(one.old, one.size, from, to, [...proof, to])).toBe(false)
      expect(verifyConsistency(one.old, one.size, from, to, proof.slice(1))).toBe(false)
      expect(verifyConsistency(one.old, one.size, from, to, proof.slice(0, -1))).toBe(false)
    }
  })
})

test('an entry in the middle of bytes has the hash that it has alone, and the bytes stay', () =>
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(199), fc.nat(199), (bytes, a, b) => {
      const [from, to] = [Math.min(a, b, bytes.length), Math.min(Math.max(a, b), bytes.length)]
      const buffer = Buffer.from(bytes)
      expect(leafHashAt(buffer, from, to)).toBe(leafHash(Buffer.from(bytes.subarray(from, to))))
      expect(buffer.equals(bytes)).toBe(true)
    }),
  ))

test.each([
  [3, ['x'.repeat(32)]],
  [1, ['short']],
  [-1, []],
  [1.5, ['x'.repeat(32)]],
])('parts of no tree: size %d', (size, parts) => expect(() => new GrowingTree(size, parts)).toThrow(RangeError))

describe('notes', () => {
  const { note } = vectors
  const pem = (seed: string) =>
    `-----BEGIN PRIVATE KEY-----\n${Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from(seed, 'base64')]).toString('base64')}\n-----END PRIVATE KEY-----\n`
  const ours = () =>
    noteSigner('log.example/a', generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)

  test('are signed and read as by the package that introduced them', () => {
    const signer = noteSigner('PeterNeumann', pem(note.seed))
    expect(verifierText(signer)).toBe(note.verifier)
    expect(signNote(note.text, [signer])).toBe(note.signed)
    const read = parseNote(Buffer.from(note.signed))
    expect(read.text).toBe(note.text)
    expect(verifyNote(read, [parseVerifier(note.verifier)]).map(({ name }) => name)).toEqual(['PeterNeumann'])
  })

  test('by several keys count by those that are known; a wrong signature of a known one counts against all', () => {
    const [one, two, other] = [ours(), ours(), ours()]
    const signed = parseNote(Buffer.from(signNote('a\n1\n', [one, two])))
    expect(verifyNote(signed, [two, other])).toEqual([two])
    expect(() => verifyNote(signed, [other])).toThrow('no key that is known')
    const forged = { ...signed, text: 'a\n2\n' }
    expect(() => verifyNote(forged, [one])).toThrow('is wrong')
  })

  test.each([
    ['no signature', 'a\n1\nx\n'],
    ['no line between', 'a\n— k AAAAAAAA\n'],
    ['a signature that is too short', 'a\n\n— k AAAA\n'],
    ['a dash of another kind', 'a\n\n- k AAAAAAAA\n'],
    ['a name with a plus', 'a\n\n— k+ AAAAAAAA\n'],
    ['no line break at the end', 'a\n\n— k AAAAAAAA'],
    ['a control character', 'a\tb\n\n— k AAAAAAAA\n'],
    ['base64 that is not canonical', 'a\n\n— k AAAAAAB=\n'],
    ['too long', `${'a'.repeat(70_000)}\n\n— k AAAAAAAA\n`],
    ['too many signatures', `a\n\n${'— k AAAAAAAA\n'.repeat(101)}`],
  ])('that are none: %s', (_what, text) => expect(() => parseNote(Buffer.from(text))).toThrow('no signed note'))

  test.each(['', 'x', 'a+00000000+ARpc', note.verifier.replace('c74f20a3', 'c74f20a4'), note.verifier.replace('+ARpc', '+AhpC')])(
    'a verifier key that is none: %s',
    (text) => expect(() => parseVerifier(text)).toThrow('verifier key'),
  )

  test('a checkpoint is read as it was written; what is none is not', () => {
    const checkpoint = { origin: 'log.example/a', size: 12, root: roots[12] as string }
    expect(parseCheckpoint(checkpointText(checkpoint))).toEqual(checkpoint)
    const [, , root] = checkpointText(checkpoint).split('\n')
    for (const text of ['', `a\n-1\n${root}\n`, `a\n01\n${root}\n`, `a\n1e3\n${root}\n`, 'a\n1\nAAAA\n', `\n1\n${root}\n`])
      expect(() => parseCheckpoint(text)).toThrow('no checkpoint')
  })
})
