// A detector in JavaScript: a finding for each instance whose probe fails. Its memory is JSON.
// The summary tells what it sees of the world, which is the same in every call.
import { get } from 'grace:plugin/config@0.1.0';
import { emit } from 'grace:plugin/log@0.1.0';

export const detect = {
  observe(state, batch) {
    const memory = state.length
      ? JSON.parse(new TextDecoder().decode(new Uint8Array(state)))
      : { calls: 0 };
    memory.calls += 1;
    const mode = get('mode') ?? '';
    const findings = batch.observations.map((seen) => {
      if (mode === 'fail') throw new Error('as it was told');
      if (mode === 'polite') throw { tag: 'unavailable', val: 'not now' };
      return {
        kind: 'probe-failed',
        target: seen.target,
        severity: 'moderate',
        confidencePermille: 900,
        summary: JSON.stringify({
          clock_ms: Date.now(),
          random: Math.random(),
          uuid: crypto.randomUUID(),
        }),
        cause: 'the probe fails',
        evidence: [
          { name: 'calls', value: { tag: 'integer', val: BigInt(memory.calls) } },
          { name: 'mode', value: { tag: 'text', val: mode } },
        ],
      };
    });
    emit('debug', `${findings.length} findings`);
    return { state: new TextEncoder().encode(JSON.stringify(memory)), findings };
  },
};
