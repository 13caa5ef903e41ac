/* huge.h - the heap in huge pages. Thousands of peers are looked at in turn, each in memory that no
 * cache holds by then: without this a third of the time goes into page tables. */
#ifndef SIM_HUGE_H
#define SIM_HUGE_H

/* The C library wants to be told before it starts: the program begins anew, once. Where that does
 * not work it goes on as it is. */
void huge_pages(char **argv);

#endif
