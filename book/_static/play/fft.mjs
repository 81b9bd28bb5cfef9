// A complex Fourier transform in place, of a length that is a power of two (Cooley and Tukey, 1965).

export class FFT {
  constructor(size) {
    if (size < 2 || size & (size - 1)) throw new Error(`FFT: found size ${size}, accepted are powers of two`);
    this.size = size;
    this.cos = Float64Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
    this.sin = Float64Array.from({ length: size / 2 }, (_, i) => Math.sin((2 * Math.PI * i) / size));
    // Where each number stands when the bits of its index are read backwards.
    this.order = new Uint32Array(size);
    for (let i = 1; i < size; i++) this.order[i] = (this.order[i >> 1] >> 1) | (i & 1 ? size >> 1 : 0);
  }

  // The transform of re + i im, without a factor; the inverse is the transform of im + i re, read in the same way.
  forward(re, im) {
    const { size, cos, sin, order } = this;
    for (let i = 0; i < size; i++) {
      const j = order[i];
      if (j > i) {
        let kept = re[i];
        re[i] = re[j];
        re[j] = kept;
        kept = im[i];
        im[i] = im[j];
        im[j] = kept;
      }
    }
    for (let half = 1; half < size; half *= 2) {
      const stride = size / (2 * half);
      for (let k = 0; k < half; k++) {
        const c = cos[k * stride];
        const s = -sin[k * stride];
        for (let a = k; a < size; a += 2 * half) {
          const b = a + half;
          const x = re[b] * c - im[b] * s;
          const y = re[b] * s + im[b] * c;
          re[b] = re[a] - x;
          im[b] = im[a] - y;
          re[a] += x;
          im[a] += y;
        }
      }
    }
  }

  inverse(re, im) {
    this.forward(im, re);
    for (let i = 0; i < this.size; i++) {
      re[i] /= this.size;
      im[i] /= this.size;
    }
  }
}
