/** Runs a job at most once in `gapMs`: the first call at once, later ones together at the end of the gap. */
export class Pace {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private wanted = false;

  constructor(
    private readonly gapMs: number,
    private readonly job: () => void,
  ) {}

  ask(): void {
    if (this.timer !== undefined) {
      this.wanted = true;
      return;
    }
    this.job();
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.wanted) {
        this.wanted = false;
        this.ask();
      }
    }, this.gapMs);
  }
}
