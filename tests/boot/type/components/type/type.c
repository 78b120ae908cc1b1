/* Writes a numbered line as often as its argument says, asks for a line, says what it got, and ends with status 3, or by a
 * wild write where the line is `crash`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments)
{
    char line[200];
    int lines = count > 1 ? atoi(arguments[1]) : 0;

    for (int i = 0; i < lines; i++)
        printf("line %d of the program\n", i);
    puts("type something");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        return 1;
    printf("typed: %s", line);
    fflush(stdout);
    if (strcmp(line, "crash\n") == 0)
        *(volatile int *)0x123456789000 = 7;
    return 3;
}
