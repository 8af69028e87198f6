// Event streams as the server sends them, for tests that replace an incident's log.

/** The stream of these events, to its end. An event without a time is stamped one second after the last. */
export function streamOf(bodies) {
  const messages = bodies.map((body, index) => {
    const seq = index + 1;
    const common = { seq, at: new Date(seq * 1000).toISOString(), actor: 'system', hash: '' };
    return `id: ${seq}\nevent: ${body.kind}\ndata: ${JSON.stringify({ ...common, ...body })}\n\n`;
  });
  return `${messages.join('')}event: caught-up\ndata: {"seq":${bodies.length}}\n\n`;
}
