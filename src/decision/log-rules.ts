// What the policy's own bundle says of the record of a decision. Not how it says so: that is src/policy/log-rules.ts.
export interface LogRules {
  /** Replacements by JSON pointer into the record. */
  readonly replace: ReadonlyMap<string, unknown>
  /** Nothing of the question and of what the policy said is recorded. */
  readonly isDropped: boolean
}
