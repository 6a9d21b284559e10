// From a trace of OPA's evaluator to the rules that decided: which were true, which were not, and at which line they ended.

export interface RuleStep {
  /** `data.authz.allow`. */
  readonly rule: string
  readonly file: string
  /** From 1. */
  readonly line: number
  isTrue: boolean
  /** No rule of this name has constants that fit the input; `line` is where it was asked for. */
  readonly isExcluded: boolean
  /** Where it was found not to hold, the last time; undefined: it was true, or another rule was enough. */
  failedAt: { readonly file: string; readonly line: number } | undefined
  readonly rules: RuleStep[]
}

/** What a trace says; lines that are none are passed over. */
const linePattern = /^(?:(\S+):(\d+))?\s+((?:\| )*)(Enter|Exit|Fail|Index) (.*)$/

/** @returns the rules of the entrypoint; below each, those that it asked, in their order, each once */
export function ruleTree(trace: string): RuleStep[] {
  const roots: RuleStep[] = []
  /** By depth: what is being evaluated there. */
  const open: (RuleStep | undefined)[] = []
  for (const text of trace.split('\n')) {
    const [, file, line, bars = '', event, rest = ''] = linePattern.exec(text) ?? []
    if (event === undefined) continue
    const depth = bars.length / 2
    if (event === 'Enter') {
      open.length = depth
      open[depth] =
        file === undefined || !rest.startsWith('data.')
          ? undefined
          : entered(open, roots, { rule: rest, file, line: Number(line), isExcluded: false })
    } else if (event === 'Exit') {
      const step = open[depth - 1]
      if (step === undefined || step.rule !== rest.replace(/ early$/, '')) continue
      step.isTrue = true
      step.failedAt = undefined
    } else if (event === 'Index') {
      const [, rule] = /^(\S+) \(matched 0 rules/.exec(rest) ?? []
      if (file !== undefined && rule !== undefined)
        entered(open.slice(0, depth), roots, { rule, file, line: Number(line), isExcluded: true })
    } else if (file !== undefined) {
      // What fails is in the body of the innermost rule.
      const step = open.slice(0, depth).findLast((one) => one !== undefined)
      if (step !== undefined && !step.isTrue) step.failedAt = { file, line: Number(line) }
    }
  }
  return roots
}

function entered(
  open: readonly (RuleStep | undefined)[],
  roots: RuleStep[],
  place: Pick<RuleStep, 'rule' | 'file' | 'line' | 'isExcluded'>,
): RuleStep {
  const siblings = open.findLast((one) => one !== undefined)?.rules ?? roots
  const known = siblings.find(
    ({ file, line, rule, isExcluded }) =>
      file === place.file && line === place.line && rule === place.rule && isExcluded === place.isExcluded,
  )
  if (known !== undefined) return known
  const step: RuleStep = { ...place, isTrue: false, failedAt: undefined, rules: [] }
  siblings.push(step)
  return step
}
