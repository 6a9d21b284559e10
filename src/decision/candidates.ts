// Who and what a search can find: the port behind which a bundle's declaration stands.

export type SearchKind = 'subject' | 'resource' | 'action'

export interface Candidates {
  /** Kinds that the bundle declares anything for. */
  readonly kinds: ReadonlySet<SearchKind>
  /**
   * @param type of the subject or resource; for actions that of the resource
   * @returns IDs or names, sorted by their code units, each once; empty for what is not declared
   */
  of(kind: SearchKind, type: string): readonly string[]
}
