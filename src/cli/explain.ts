// verdict explain: the rules that decided a recorded decision, in words, with file and line.
import { dirname, join } from 'node:path'
import type { Command } from 'commander'
import { queryLog } from '../audit/query-log.ts'
import { type RuleStep, ruleTree } from '../audit/rule-tree.ts'
import { PdpError } from '../errors.ts'
import { LogReplay } from '../log-replay.ts'
import { defaultLog, mustBeLog } from './log-folder.ts'
import { describe, safe } from './log-query.ts'
import { paint, print, printJson } from './output.ts'
import { withToolchain } from './with-toolchain.ts'

interface ExplainOptions {
  readonly log: string
  readonly archives?: string
  readonly trustedKey: string
  readonly trace?: boolean
  readonly json?: boolean
}

export function explainCommand(program: Command): void {
  program
    .command('explain <id>')
    .description('which rules decided a recorded decision, by its ID')
    .option('--log <folder>', 'folder of the decision log', defaultLog)
    .option('--archives <folder>', 'archives of bundles (default: bundles beside the folder of the log)')
    .option('--trusted-key <key>', 'key of the input for trusted facts, as it was configured', 'trusted')
    .option('--trace', "print the whole trace of OPA's evaluator instead")
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  verdict explain 855ab5e6-0000-4000-8000-000000000000\n  verdict explain ID --trace')
    .action(explain)
}

/** @throws PdpError ERR_USAGE, ERR_NOT_FOUND, ERR_FILE, ERR_CONFLICT */
async function explain(id: string, options: ExplainOptions): Promise<void> {
  const { log, archives = join(dirname(log), 'bundles'), trustedKey } = options
  mustBeLog(log)
  const [found] = queryLog(log, { id })
  if (found === undefined) throw new PdpError('ERR_NOT_FOUND', `no record in \`${log}\` has the ID \`${id.slice(0, 64)}\``)
  const { trace, bundle } = await withToolchain((toolchain) =>
    new LogReplay(toolchain, archives, trustedKey).explain(found.line, found.record),
  )
  const rules = ruleTree(trace)
  if (options.trace) {
    print(safeLines(trace))
    return
  }
  if (options.json) {
    printJson({ record: JSON.parse(found.line) as unknown, rules })
    return
  }
  print(describe(found.record))
  const sourceOf = (file: string, line: number) => safe((bundle.modules[file] ?? '').split('\n')[line - 1]?.trim() ?? '')
  const show = (step: RuleStep, depth: number) => {
    const { rule, file, line, isTrue, isExcluded, failedAt } = step
    const mark = isTrue ? paint('green', '✓') : paint('red', '✗')
    const note = isExcluded ? ': no rule of this name fits the input' : sourceOf(file, line).startsWith('default ') ? ', by default' : ''
    print(`${'  '.repeat(depth)}${mark} ${rule}${note}  ${paint('gray', `${file}:${line}`)}`)
    if (failedAt !== undefined)
      print(
        `${'  '.repeat(depth + 1)}does not hold: ${sourceOf(failedAt.file, failedAt.line)}  ${paint('gray', `${failedAt.file}:${failedAt.line}`)}`,
      )
    for (const inner of step.rules) show(inner, depth + 1)
  }
  print()
  for (const step of rules) show(step, 0)
  if (rules.length === 0) print('no rule was true: the entrypoint has no value for this input')
}

function safeLines(text: string): string {
  return text.split('\n').map(safe).join('\n')
}
