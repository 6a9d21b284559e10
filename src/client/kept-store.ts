// Where answers are kept: found by their questions, and bounded. Not when one may be given.
import type { Question } from './answer.ts'
import type { Asked } from './asked.ts'
import type { CallOptions } from './client.ts'

/** Of one subject and resource: for other actions, in other contexts. */
const maxSimilar = 32

export class KeptStore<Kept extends { readonly asked: Asked }> {
  readonly #max: number
  /** By the IDs of the subject and of the resource, of which a question has the texts as they are; of one pair the newest first. */
  readonly #kept = new Map<unknown, Map<unknown, Kept[]>>()
  #size = 0

  constructor(max: number) {
    this.#max = max
  }

  find(question: Question, call: CallOptions): Kept | undefined {
    const similar = this.#kept.get(question.subject?.id)?.get(question.resource?.id)
    if (similar !== undefined) for (const kept of similar) if (kept.asked.isSame(question, call)) return kept
    return undefined
  }

  /** Where there is no room, one of the oldest gives way. */
  add(kept: Kept): void {
    const { subjectId, resourceId } = kept.asked
    const similar = this.#kept.get(subjectId)?.get(resourceId)
    if (similar !== undefined && similar.length >= maxSimilar) this.drop(similar.at(-1) as Kept)
    else if (this.#size >= this.#max) this.drop(this.#oldest())
    // What gave way may have been the last of its subject.
    const ofSubject = this.#kept.get(subjectId) ?? new Map<unknown, Kept[]>()
    const those = ofSubject.get(resourceId) ?? []
    those.unshift(kept)
    ofSubject.set(resourceId, those)
    this.#kept.set(subjectId, ofSubject)
    this.#size++
  }

  /** @param kept one that is there */
  drop(kept: Kept): void {
    const { subjectId, resourceId } = kept.asked
    const ofSubject = this.#kept.get(subjectId) as Map<unknown, Kept[]>
    const similar = ofSubject.get(resourceId) as Kept[]
    similar.splice(similar.indexOf(kept), 1)
    if (similar.length === 0) ofSubject.delete(resourceId)
    if (ofSubject.size === 0) this.#kept.delete(subjectId)
    this.#size--
  }

  clear(): void {
    this.#kept.clear()
    this.#size = 0
  }

  #oldest(): Kept {
    const [ofSubject] = this.#kept.values() as Iterable<Map<unknown, Kept[]>> as [Map<unknown, Kept[]>]
    const [similar] = ofSubject.values() as Iterable<Kept[]> as [Kept[]]
    return similar.at(-1) as Kept
  }
}
