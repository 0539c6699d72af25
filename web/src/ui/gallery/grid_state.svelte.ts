import { untrack } from "svelte";

import { fileUrl } from "$lib/api/client";
import { GridModel, type View } from "$lib/gallery/grid_model";
import { type JobTile, listJobTiles } from "$lib/gallery/job_tiles";
import type { Box, LayoutOptions, Step } from "$lib/gallery/layout";
import { Prompts } from "$lib/gallery/prompts";
import { Recycler } from "$lib/gallery/recycler";
import { DismissedJobs, ScrollMemory } from "$lib/gallery/scroll_memory";
import { ScrollScale } from "$lib/gallery/scroll_scale";
import { thumbnailSize } from "$lib/gallery/thumbnails";
import { isLive } from "$lib/jobs";
import { api, base, gallery, jobs, preferences, screen, selection } from "$ui/app.svelte";
import { currentLayout } from "$ui/gallery/find_state.svelte";

/** An image in the grid, in one of the elements that are used again and again. */
export interface ImageSlot extends Box {
  place: number;
  uid: string;
  /** Among all images, from 1. */
  number: number;
  src: string;
  created: number;
  rating: number;
  isMissing: boolean;
  isSelected: boolean;
  isTabStop: boolean;
}

export interface JobSlot extends Box {
  tile: JobTile;
}

export interface DayHeader {
  day: number;
  isMonth: boolean;
  y: number;
  images: number;
}

const DAY_HEADER = 40;
const BOTTOM = 24;
/** Faster than this, in pixels a millisecond, no thumbnails are asked for. */
const FAST = 6;
const REST_AFTER = 120;
/** How long the first images wait for the jobs. */
const PATIENCE = 500;
const MOST_TILES = 95;
const MOST_FREE = 8;

export const prompts = new Prompts(api);
const places = new ScrollMemory(sessionStorage);
const dismissed = new DismissedJobs(localStorage);

/** What the grid shows of the gallery: the model, the scroller and the elements on the screen. */
export class GridState {
  slots = $state.raw<ImageSlot[]>([]);
  jobs = $state.raw<JobSlot[]>([]);
  days = $state.raw<DayHeader[]>([]);
  /** How many new images are above the screen. */
  news = $state(0);
  isFast = $state(false);
  isScrolling = $state(false);
  /** Counts the layouts. */
  version = $state(0);
  offset = $state(0);
  readonly model: GridModel;
  readonly scale = new ScrollScale();
  #scroller: HTMLElement | null = null;
  #content: HTMLElement | null = null;
  #viewHeight = 0;
  /** Where the images begin, below what scrolls with them. */
  #start = 0;
  #recycler = new Recycler();
  #frame = 0;
  #rest: ReturnType<typeof setTimeout> | undefined;
  #late: ReturnType<typeof setTimeout> | undefined;
  #isLate = false;
  #last = { top: 0, time: 0 };
  /** Whether images and jobs are known, so that none is moved by what comes later. */
  isReady = $state(false);
  #isRestored = false;
  #filters = "";
  /** The jobs that were seen before they ended. */
  #live = new Set<string>();

  constructor() {
    this.model = new GridModel(this.#options(800));
  }

  get view(): View {
    return { top: this.scale.offset - this.#start, height: this.#viewHeight };
  }

  get start(): number {
    return this.#start;
  }

  /** Use these elements until the returned function is called. */
  attach(scroller: HTMLElement, content: HTMLElement, images: HTMLElement): () => void {
    this.#scroller = scroller;
    this.#content = content;
    gallery.takeArrivals();
    const measure = (): void => {
      this.#viewHeight = scroller.clientHeight;
      const above = images.offsetTop;
      const isMoved = above !== this.#start && this.view.top > 0;
      const by = isMoved ? above - this.#start : 0;
      this.#start = above;
      this.#arrange(images.clientWidth, by);
    };
    const observer = new ResizeObserver(measure);
    for (const element of [scroller, images, ...content.children]) observer.observe(element);
    measure();
    return () => {
      observer.disconnect();
      clearTimeout(this.#rest);
      clearTimeout(this.#late);
      cancelAnimationFrame(this.#frame);
      this.#keepPlace();
    };
  }

  /** Show the gallery and the jobs as they are now. */
  update(): void {
    this.isReady ||= (gallery.isLoaded || gallery.error !== null) && this.#areJobsKnown();
    if (!this.isReady) return;
    const filters = JSON.stringify([gallery.filters, gallery.isOldestFirst]);
    const isOther = filters !== this.#filters;
    this.#filters = filters;
    const { index } = gallery;
    const shown = [...jobs.jobs.values()].filter((job) => !dismissed.has(job.id));
    for (const job of shown) if (isLive(job)) this.#live.add(job.id);
    const isKnown = (generation: string): boolean => gallery.isKnown(generation);
    const wasLive = (job: string): boolean => this.#live.has(job);
    const tiles = gallery.filters.trash
      ? []
      : listJobTiles(shown, { index, isKnown, wasLive, now: Date.now() });
    const arrivals = gallery.takeArrivals();
    if (gallery.isOldestFirst) {
      tiles.reverse();
      arrivals.length = 0; // new images are at the end, not above the screen
    }
    if (isOther && this.#isRestored) this.scrollTo(0);
    const before = this.model.layout;
    const by = this.model.update({ index, tiles, arrivals }, this.view);
    if (this.model.layout === before) this.render();
    else this.#place(by);
    if (!this.#isRestored && gallery.isLoaded && this.#viewHeight > 0) this.#restore();
  }

  /** Jobs that are not known for so long are shown when they are. */
  #areJobsKnown(): boolean {
    if (jobs.isSettled || this.#isLate) return true;
    this.#late ??= setTimeout(() => {
      this.#isLate = true;
      this.update();
    }, PATIENCE);
    return false;
  }

  /** Lay out for other preferences or another width. */
  arrange(): void {
    const images = this.#content?.querySelector<HTMLElement>(".images");
    if (images) this.#arrange(images.clientWidth, 0);
  }

  scrolled(): void {
    if (!this.#scroller) return;
    const now = performance.now();
    const top = this.#scroller.scrollTop;
    const speed = Math.abs(top - this.#last.top) / Math.max(1, now - this.#last.time);
    this.#last = { top, time: now };
    this.scale.scrolled(top);
    this.isFast = speed > FAST;
    this.isScrolling = true;
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => this.#settle(), REST_AFTER);
    this.#frame ||= requestAnimationFrame(() => this.render());
  }

  /** Scroll to an offset of the images. */
  scrollTo(y: number): void {
    if (!this.#scroller) return;
    this.#scroller.scrollTop = this.scale.jump(y === 0 ? 0 : y + this.#start);
    this.render();
  }

  /** Scroll as little as is needed to see an image. */
  reveal(uid: string): boolean {
    const item = this.model.items.find(uid);
    if (item < 0) return false;
    const { y, height } = this.model.layout.boxOf(item);
    const { top, height: view } = this.view;
    if (y < top + 8) this.scrollTo(y - DAY_HEADER - 8);
    else if (y + height > top + view - 8) this.scrollTo(y + height - view + 16);
    return true;
  }

  /** Show the new images at the top. */
  showNews(): void {
    this.model.release();
    this.#place(0);
    this.scrollTo(0);
  }

  dismiss(job: string): void {
    dismissed.add(job);
    this.update();
  }

  /** The image beside the one with the focus, or the first on the screen. */
  step(from: string, step: Step): string {
    const { items, layout } = this.model;
    let item = from ? items.find(from) : -1;
    if (item < 0) return this.firstOnScreen();
    do item = layout.neighbour(item, step);
    while (item >= 0 && items.tileAt(item));
    return item < 0 ? "" : items.keyAt(item);
  }

  firstOnScreen(): string {
    const { items, layout } = this.model;
    const { top, height } = this.view;
    const seen = layout.itemsBetween(top, top + height).filter((i) => !items.tileAt(i));
    const whole = seen.find((i) => layout.boxOf(i).y >= top) ?? seen[0];
    return whole === undefined ? "" : items.keyAt(whole);
  }

  /** The images that touch a box of the layout. */
  imagesIn(box: Box): string[] {
    const { items, layout } = this.model;
    return layout
      .itemsIn(box)
      .filter((i) => !items.tileAt(i))
      .map((i) => items.keyAt(i));
  }

  render(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    untrack(() => this.#render());
  }

  #render(): void {
    const { items, layout } = this.model;
    const { top, height } = this.view;
    this.offset = top;
    if (top <= 0 && this.model.release()) this.#place(0);
    this.news = this.model.news;
    let shown = layout.itemsBetween(top - height / 2, top + height * 1.5);
    if (shown.length > MOST_TILES) shown = layout.itemsBetween(top - 120, top + height + 120);
    const down = -this.scale.drift;
    const focused = gallery.focused ? items.find(gallery.focused) : -1;
    const hasFocus = focused >= 0 && this.#scroller?.contains(document.activeElement);
    if (hasFocus && !shown.includes(focused)) shown.push(focused);
    const images = shown.filter((i) => !items.tileAt(i));
    const stop = images.includes(focused)
      ? focused
      : (images.find((i) => layout.boxOf(i).y >= top) ?? images[0]);
    const own = this.#recycler.assign(images.map((i) => items.keyAt(i)));
    this.#recycler.trim(MOST_FREE);
    const before = new Map(this.slots.map((slot) => [slot.place, slot]));
    const slots = images.map((i, k) => {
      const slot = this.#slotOf(i, own[k] as number, down, i === stop);
      const old = before.get(slot.place);
      return old && isSame(old, slot) ? old : slot;
    });
    this.slots = slots.sort((a, b) => a.place - b.place);
    this.jobs = shown.flatMap((i) => {
      const tile = items.tileAt(i);
      if (!tile) return [];
      const box = layout.boxOf(i);
      return [{ ...box, y: box.y + down, tile }];
    });
    const [first, end] = layout.sectionsBetween(top - height / 2, top + height * 1.5);
    this.days = items.sections.slice(first, end).map(({ day, isMonth, images: count }, k) => {
      return { day, isMonth, images: count, y: layout.sectionTop(first + k) + down };
    });
    if (!this.isScrolling) void prompts.read(slots.map((slot) => slot.uid));
  }

  #slotOf(item: number, place: number, down: number, isTabStop: boolean): ImageSlot {
    const { items, layout } = this.model;
    const at = items.imageAt(item);
    const { uid, version, rating, isMissing, created } = items.index.at(at);
    const box = layout.boxOf(item);
    const isSquare = layout.options.kind === "squares";
    const ratio = items.ratios[item] as number;
    const size = thumbnailSize(box, isSquare, ratio, devicePixelRatio);
    return {
      ...box,
      y: box.y + down,
      place,
      uid,
      number: at + 1,
      src: fileUrl(base, `images/${uid}/thumbnail`, { size, v: version }),
      created,
      rating,
      isMissing,
      isSelected: selection.has(uid),
      isTabStop,
    };
  }

  #options(width: number): LayoutOptions {
    const { tile, columns } = preferences.values;
    const gap = screen.isPhone ? 4 : 8;
    const fitting = Math.max(1, Math.floor((width + gap) / (tile + gap)));
    return {
      width,
      gap,
      columns: screen.isPhone ? columns : fitting,
      kind: currentLayout(),
      header: DAY_HEADER,
      isMirrored: document.dir === "rtl",
    };
  }

  #arrange(width: number, by: number): void {
    if (width === 0) return;
    const options = this.#options(width);
    const shift = this.model.arrange(options, { ...this.view, top: this.view.top });
    this.#place(shift + by);
    if (!this.#isRestored && this.isReady && gallery.isLoaded) this.#restore();
  }

  /** Give the scroller the height of the layout, and move it so that what is seen stays. */
  #place(by: number): void {
    if (!this.#scroller || !this.#content) return;
    const total = this.#start + this.model.layout.height + BOTTOM;
    this.scale.resize(total, this.#viewHeight);
    this.#content.style.height = `${this.scale.elementHeight}px`;
    if (by !== 0) this.#scroller.scrollTop = this.scale.jump(this.scale.offset + by);
    this.version += 1;
    this.render();
  }

  #settle(): void {
    this.isFast = false;
    this.isScrolling = false;
    if (this.scale.isScaled && this.#scroller) this.#scroller.scrollTop = this.scale.settle();
    this.render();
    this.#keepPlace();
  }

  #keepPlace(): void {
    if (!this.#isRestored) return;
    const uid = this.view.top > 0 ? this.firstOnScreen() : "";
    const item = uid ? this.model.items.find(uid) : -1;
    const offset = item < 0 ? 0 : this.model.layout.boxOf(item).y - this.view.top;
    places.keep(this.#filters, item < 0 ? null : { uid, offset });
  }

  #restore(): void {
    this.#isRestored = true;
    const place = places.find(this.#filters);
    const item = place ? this.model.items.find(place.uid) : -1;
    if (place && item >= 0) this.scrollTo(this.model.layout.boxOf(item).y - place.offset);
  }
}

function isSame(a: ImageSlot, b: ImageSlot): boolean {
  return (Object.keys(a) as (keyof ImageSlot)[]).every((name) => a[name] === b[name]);
}
