// How the cost of an evaluation grows with its policy or data, as SVG: both axes logarithmic.

export interface Point {
  readonly family: string
  readonly size: number
  readonly verdictNs: number
  readonly opaNs: number
}

const width = 640
const height = 360
const margin = { left: 64, right: 150, top: 24, bottom: 48 }
const colours = { verdict: '#1f6feb', opa: '#9a6700' }

export function growthPlot(points: readonly Point[]): string {
  const families = [...new Set(points.map((point) => point.family))]
  const times = points.flatMap((point) => [point.verdictNs, point.opaNs])
  const x = scale(
    points.map((point) => point.size),
    margin.left,
    width - margin.right,
  )
  const y = scale(times, height - margin.bottom, margin.top)
  const lines = families.flatMap((family, i) => {
    const own = points.filter((point) => point.family === family)
    return (['verdict', 'opa'] as const).map((who) => {
      const at = own.map((point) => [x.at(point.size), y.at(who === 'verdict' ? point.verdictNs : point.opaNs)] as const)
      const path = at.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(' ')
      const [endX, endY] = at.at(-1) as readonly [number, number]
      const dash = i === 0 ? '' : ' stroke-dasharray="5 4"'
      return `<polyline points="${path}" fill="none" stroke="${colours[who]}" stroke-width="2"${dash}/>
<text x="${(endX + 6).toFixed(1)}" y="${(endY + 4).toFixed(1)}" fill="${colours[who]}">${who === 'verdict' ? 'Verdict' : 'OPA'}, ${family}</text>`
    })
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">
<title>Time of an evaluation as rules or entries of data grow, Verdict beside OPA</title>
<rect width="${width}" height="${height}" fill="white"/>
${x.ticks.map((size) => `<line x1="${x.at(size)}" y1="${margin.top}" x2="${x.at(size)}" y2="${height - margin.bottom}" stroke="#ddd"/><text x="${x.at(size)}" y="${height - margin.bottom + 16}" text-anchor="middle">${size.toLocaleString('en')}</text>`).join('\n')}
${y.ticks.map((ns) => `<line x1="${margin.left}" y1="${y.at(ns)}" x2="${width - margin.right}" y2="${y.at(ns)}" stroke="#ddd"/><text x="${margin.left - 6}" y="${y.at(ns) + 4}" text-anchor="end">${(ns / 1_000).toLocaleString('en')} µs</text>`).join('\n')}
${lines.join('\n')}
<text x="${(margin.left + width - margin.right) / 2}" y="${height - 12}" text-anchor="middle">rules, or entries of data</text>
</svg>
`
}

/** Powers of ten around some values, and where each value lies. */
function scale(values: readonly number[], from: number, to: number): { at: (value: number) => number; ticks: number[] } {
  const low = Math.floor(Math.log10(Math.min(...values)))
  const high = Math.ceil(Math.log10(Math.max(...values)))
  const at = (value: number) => from + ((Math.log10(value) - low) / (high - low)) * (to - from)
  return { at, ticks: Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)) }
}
