#!/usr/bin/env node
// The process: arguments in, an exit code out. Commands live in src/cli, one file each.
import { Command, CommanderError } from 'commander'
import { exitCodes, printError } from './cli/output.ts'
import { version } from './version.ts'

type Add = (program: Command) => void

// Loaded when it is asked for: all together take half a second, most of it for the service.
const commands: Readonly<Record<string, () => Promise<Add>>> = {
  serve: async () => (await import('./cli/serve.ts')).serveCommand,
  build: async () => (await import('./cli/build.ts')).buildCommand,
  test: async () => (await import('./cli/test.ts')).testCommand,
  check: async () => (await import('./cli/check.ts')).checkCommand,
  fmt: async () => (await import('./cli/fmt.ts')).fmtCommand,
  eval: async () => (await import('./cli/eval.ts')).evalCommand,
  sign: async () => (await import('./cli/sign.ts')).signCommand,
  push: async () => (await import('./cli/push.ts')).pushCommand,
  bundles: async () => (await import('./cli/bundles.ts')).bundlesCommand,
  revocations: async () => (await import('./cli/isolations.ts')).revocationsCommand,
  quarantines: async () => (await import('./cli/isolations.ts')).quarantinesCommand,
  log: async () => (await import('./cli/log.ts')).logCommand,
  explain: async () => (await import('./cli/explain.ts')).explainCommand,
  drill: async () => (await import('./cli/drill.ts')).drillCommand,
  doctor: async () => (await import('./cli/doctor.ts')).doctorCommand,
}

const program = new Command('verdict')
  .description('Policy decision point: Rego policies as WebAssembly, each decision recorded')
  .version(version)
  .exitOverride()
  .addHelpText('after', '\nExit codes: 0 done, 1 the answer is no, 2 usage, 3 could not run.\nverdict COMMAND --help shows examples.')
const [name = ''] = process.argv.slice(2)
const isOne = Object.hasOwn(commands, name)
// What names none of them is answered with the whole list.
for (const load of isOne ? [commands[name]] : name === '--version' ? [] : Object.values(commands)) (await load?.())?.(program)
for (const command of program.commands) {
  command.exitOverride()
  for (const inner of command.commands) inner.exitOverride()
}

try {
  await program.parseAsync()
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? exitCodes.done : exitCodes.usage
  else process.exitCode = printError(thrown, process.argv.includes('--json'))
}
