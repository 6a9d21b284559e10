// The Merkle tree of RFC 6962: hashes of entries and nodes, a tree that only grows, proofs and their verification. Knows nothing of
// files, and nothing of what entries are.
// @see RFC 6962 §2.1, RFC 9162 §2.1.3 to §2.1.5
import { hash } from 'node:crypto'

/** SHA-256 as 32 characters of Latin-1: quicker to make and to compare than bytes. */
export type Digest = string

/** Of a tree without entries. */
export const emptyRoot: Digest = hash('sha256', '', 'binary')

const node = Buffer.alloc(65, 1)

/** @param entry room for its prefix in front: the byte before `from` is written over for a moment */
export function leafHashAt(bytes: Buffer, from: number, to: number): Digest {
  if (from === 0) return hash('sha256', Buffer.concat([leafPrefix, bytes.subarray(0, to)]), 'binary')
  const before = bytes[from - 1] as number
  bytes[from - 1] = 0
  const digest = hash('sha256', bytes.subarray(from - 1, to), 'binary')
  bytes[from - 1] = before
  return digest
}

const leafPrefix = Buffer.from([0])

export function leafHash(entry: Buffer): Digest {
  return leafHashAt(entry, 0, entry.length)
}

export function nodeHash(left: Digest, right: Digest): Digest {
  node.write(left, 1, 'latin1')
  node.write(right, 33, 'latin1')
  return hash('sha256', node, 'binary')
}

/** A tree of which only what it takes to go on is kept: the roots of its whole subtrees, the largest first. */
export class GrowingTree {
  #size: number
  readonly #roots: Digest[]

  /**
   * @param size entries so far
   * @param roots one for each bit that is set in the size, the highest first
   * @throws RangeError where they do not fit together
   */
  constructor(size = 0, roots: readonly Digest[] = []) {
    if (!Number.isSafeInteger(size) || size < 0 || roots.length !== bitsOf(size) || roots.some((one) => one.length !== 32))
      throw new RangeError('the roots do not belong to a tree of this size')
    this.#size = size
    this.#roots = [...roots]
  }

  get size(): number {
    return this.#size
  }

  get roots(): readonly Digest[] {
    return this.#roots
  }

  /** Whether it is the tree of so many entries with these parts. */
  isAt(size: number, roots: readonly Digest[]): boolean {
    return this.#size === size && this.#roots.length === roots.length && this.#roots.every((root, i) => root === roots[i])
  }

  copy(): GrowingTree {
    return new GrowingTree(this.#size, this.#roots)
  }

  append(leaf: Digest): void {
    let digest = leaf
    for (let size = this.#size; size % 2 === 1; size = Math.floor(size / 2)) digest = nodeHash(this.#roots.pop() as Digest, digest)
    this.#roots.push(digest)
    this.#size++
  }

  root(): Digest {
    if (this.#roots.length === 0) return emptyRoot
    let digest = this.#roots.at(-1) as Digest
    for (let i = this.#roots.length - 2; i >= 0; i--) digest = nodeHash(this.#roots[i] as Digest, digest)
    return digest
  }
}

function bitsOf(size: number): number {
  let bits = 0
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) bits += rest % 2
  return bits
}

/** Hashes of all entries of a log, for proofs: 32 bytes each. */
export class Leaves {
  #bytes = Buffer.alloc(32 * 1024)
  #size = 0

  get size(): number {
    return this.#size
  }

  add(leaf: Digest): void {
    if ((this.#size + 1) * 32 > this.#bytes.length) {
      const larger = Buffer.alloc(this.#bytes.length * 2)
      this.#bytes.copy(larger)
      this.#bytes = larger
    }
    this.#bytes.write(leaf, this.#size++ * 32, 'latin1')
  }

  /** All of them, one behind the other. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#size * 32)
  }

  at(index: number): Digest {
    return this.#bytes.toString('latin1', index * 32, index * 32 + 32)
  }

  /** MTH(D[from:to]). */
  root(from = 0, to = this.#size): Digest {
    if (to - from === 0) return emptyRoot
    if (to - from === 1) return this.at(from)
    const split = from + splitOf(to - from)
    return nodeHash(this.root(from, split), this.root(split, to))
  }

  /** PATH(m, D[0:n]). @throws RangeError for an entry that is not among the first `size` */
  inclusionProof(index: number, size = this.#size): Digest[] {
    if (!(index >= 0 && index < size && size <= this.#size)) throw new RangeError('there is no such entry')
    const path: Digest[] = []
    for (let [from, to] = [0, size]; to - from > 1; ) {
      const split = from + splitOf(to - from)
      if (index < split) {
        path.push(this.root(split, to))
        to = split
      } else {
        path.push(this.root(from, split))
        from = split
      }
    }
    return path.reverse()
  }

  /** PROOF(m, D[0:n]). @throws RangeError for sizes that the log does not have */
  consistencyProof(oldSize: number, size = this.#size): Digest[] {
    if (!(oldSize >= 0 && oldSize <= size && size <= this.#size)) throw new RangeError('there is no such size')
    if (oldSize === 0 || oldSize === size) return []
    const path: Digest[] = []
    let [from, to, isWhole] = [0, size, true]
    while (oldSize < to) {
      const split = from + splitOf(to - from)
      if (oldSize <= split) {
        path.push(this.root(split, to))
        to = split
      } else {
        path.push(this.root(from, split))
        from = split
        isWhole = false
      }
    }
    if (!isWhole) path.push(this.root(from, to))
    return path.reverse()
  }
}

/** The largest power of two below. */
function splitOf(count: number): number {
  return 2 ** (Math.ceil(Math.log2(count)) - 1)
}

/** @see RFC 9162 §2.1.3.2 */
export function verifyInclusion(index: number, size: number, leaf: Digest, proof: readonly Digest[], root: Digest): boolean {
  if (!(Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size)) return false
  let [fn, sn, digest] = [index, size - 1, leaf]
  for (const one of proof) {
    if (sn === 0) return false
    if (fn % 2 === 1 || fn === sn) {
      digest = nodeHash(one, digest)
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)]
    } else digest = nodeHash(digest, one)
    ;[fn, sn] = [half(fn), half(sn)]
  }
  return sn === 0 && digest === root
}

/** @see RFC 9162 §2.1.4.2 */
export function verifyConsistency(oldSize: number, size: number, oldRoot: Digest, root: Digest, proof: readonly Digest[]): boolean {
  if (!(Number.isSafeInteger(oldSize) && Number.isSafeInteger(size) && oldSize >= 0 && oldSize <= size)) return false
  if (oldSize === size) return proof.length === 0 && oldRoot === root
  // Every tree begins with the one that is empty.
  if (oldSize === 0) return proof.length === 0 && oldRoot === emptyRoot
  const rest = [...proof]
  let [fn, sn] = [oldSize - 1, size - 1]
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)]
  // A size that is a power of two is a node itself, which the proof does not repeat.
  const first = fn === 0 ? oldRoot : rest.shift()
  if (first === undefined) return false
  let [fr, sr] = [first, first]
  for (const one of rest) {
    if (sn === 0) return false
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(one, fr)
      sr = nodeHash(one, sr)
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)]
    } else sr = nodeHash(sr, one)
    ;[fn, sn] = [half(fn), half(sn)]
  }
  return sn === 0 && fr === oldRoot && sr === root
}

function half(n: number): number {
  return Math.floor(n / 2)
}
