/* An empty process, linked statically like the hook: what starting one costs at least. */
int main(void)
{
    return 0;
}
